import { isBlock, membersOf, type TerraformBlock } from './configuration';

/** A provider's schema for a resource, a data source, or a nested block. */
export interface BlockSchema {
  readonly arguments: Readonly<Record<string, 'required' | 'optional'>>;
  readonly blocks: Readonly<Record<string, BlockSchema>>;
  /** The names of required blocks. */
  readonly required: readonly string[];
}

export interface ResourceSchema extends BlockSchema {
  /** Attributes that other parts of the configuration may read, such as `email` and `service_config.uri`. */
  readonly attributes: readonly string[];
}

export interface Schema {
  /** The providers, by source address. */
  readonly providers: Readonly<Record<string, { readonly version: string; readonly from: string }>>;
  readonly resource: Readonly<Record<string, ResourceSchema>>;
  readonly data: Readonly<Record<string, ResourceSchema>>;
}

/** Returns one sentence for each error that the provider would report. */
export function schemaErrors(body: TerraformBlock, schema: BlockSchema, path: string): string[] {
  const members = membersOf(body);
  const given = new Set(members.map(([name]) => name));
  const missing = [
    ...Object.entries(schema.arguments).flatMap(([name, need]) => (need === 'required' ? [name] : [])),
    ...schema.required,
  ].filter((name) => !given.has(name));
  return [
    ...missing.map((name) => `${path} lacks ${name}`),
    ...members.flatMap(([name, value]) => {
      const inner = schema.blocks[name];
      if (inner) {
        return isBlock(value)
          ? value.flatMap((one) => schemaErrors(one, inner, `${path}.${name}`))
          : [`${path}.${name} is a block`];
      }
      if (schema.arguments[name] === undefined) return [`${path} has no ${name}`];
      return isBlock(value) ? [`${path}.${name} is not a block`] : [];
    }),
  ];
}

/** Returns a schema that is reduced to the members that the given blocks use, and the required members. */
export function usedSchema(schema: BlockSchema, bodies: readonly TerraformBlock[]): BlockSchema {
  const members = bodies.flatMap(membersOf);
  const used = new Set(members.map(([name]) => name));
  const inside = (block: string) =>
    members.flatMap(([name, value]) => (name === block && isBlock(value) ? value : []));
  return {
    arguments: pick(schema.arguments, (name, need) => used.has(name) || need === 'required'),
    blocks: Object.fromEntries(
      Object.entries(pick(schema.blocks, (name) => used.has(name))).map(([name, inner]) => [
        name,
        usedSchema(inner, inside(name)),
      ]),
    ),
    required: schema.required,
  };
}

function pick<T>(from: Readonly<Record<string, T>>, isWanted: (name: string, value: T) => boolean) {
  return Object.fromEntries(
    Object.entries(from)
      .filter(([name, value]) => isWanted(name, value))
      .sort(([a], [b]) => a.localeCompare(b)),
  );
}
