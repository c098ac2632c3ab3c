import { eks } from './eks';
import type { Environment } from './environment';

export const environments: readonly Environment[] = [...eks];
