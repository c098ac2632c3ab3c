import { writeFileSync } from 'node:fs';
import { reservedSection, reservedSectionFile } from './reserved-section';

/** Writes the reserved ranges into the node program. */
writeFileSync(reservedSectionFile, reservedSection());
