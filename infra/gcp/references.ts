import { textsIn, type TerraformModule, type TerraformResource } from './configuration';

const name = '[a-zA-Z_][a-zA-Z0-9_-]*';
const index = '(?:\\[[^\\]]*\\])*';
const pattern = new RegExp(
  `(?<![\\w.\\-"])(?:var|local|module|data|[a-z]+(?:_[a-z0-9]+)+)(?:${index}\\.${name})+`,
  'g',
);

/**
 * Returns the references in a module's expressions, without indices. Each reference is split into its parts:
 * `var.project`, `local.name`, `google_x.y.email`, `data.x.y.z`, `module.x.y`.
 */
export function referencesIn(found: unknown): string[][] {
  return textsIn(found)
    .filter((text) => text.replaceAll('$${', '').includes('${'))
    .flatMap((text) => [...text.matchAll(pattern)])
    .map(([match]) => match.replace(/\[[^\]]*\]/g, '').split('.'));
}

export interface AttributeRead {
  readonly mode: TerraformResource['mode'];
  readonly type: string;
  readonly name: string;
  /** `email`, `service_config.uri` */
  readonly path: string;
}

/** Returns the attributes of resources and data sources that a module reads. */
export function attributesRead(module: TerraformModule): AttributeRead[] {
  return referencesIn(module)
    .flatMap(([first = '', second = '', ...rest]): AttributeRead[] => {
      const [third = '', ...path] = rest;
      if (first === 'data') return [{ mode: 'data', type: second, name: third, path: path.join('.') }];
      return isResourceType(first, module)
        ? [{ mode: 'resource', type: first, name: second, path: rest.join('.') }]
        : [];
    })
    .filter(({ path }) => path !== '');
}

const isResourceType = (word: string, { resources }: TerraformModule): boolean =>
  resources.some(({ mode, type }) => mode === 'resource' && type === word);
