/** A node of a protobufjs JSON descriptor: a namespace, message, enum or service. */
export interface Descriptor {
  readonly nested?: Readonly<Record<string, Descriptor>>;
  readonly fields?: Readonly<Record<string, { readonly type: string }>>;
  readonly methods?: Readonly<
    Record<string, { readonly requestType: string; readonly responseType: string }>
  >;
}

/**
 * Reduces a descriptor to the given methods and all types that their requests and responses can contain. The
 * remaining parts do not change.
 * @param methods the names of the methods, by the name of their service
 * @param untypedFields fields (`Message.field`) that may contain a `google.protobuf.Any`. The type of its value is
 * resolved by name when a message arrives, and a missing type causes an error only then. List only fields that are
 * never received.
 * @throws Error if a method, type or untyped field does not exist or is not as expected
 */
export function pruneProtos(
  root: Descriptor,
  packageName: string,
  methods: Readonly<Record<string, readonly string[]>>,
  untypedFields: readonly string[],
): Descriptor {
  const kept = new Set<string>();
  const remainingFields = new Set(untypedFields);

  function keep(scope: string, type: string): void {
    const name = resolve(root, scope, type);
    if (name === undefined || kept.has(name)) return;
    kept.add(name);
    for (const [field, { type: fieldType }] of Object.entries(find(root, name)?.fields ?? {})) {
      const place = `${name.slice(packageName.length + 1)}.${field}`;
      if (resolve(root, name, fieldType) === any && !untypedFields.includes(place)) {
        throw new Error(`${place} may hold any type, so its types cannot be pruned: see untypedFields`);
      }
      remainingFields.delete(place);
      keep(name, fieldType);
    }
  }

  for (const [service, names] of Object.entries(methods)) {
    const name = `${packageName}.${service}`;
    kept.add(name);
    for (const method of names) {
      const found = find(root, name)?.methods?.[method];
      if (!found) throw new Error(`${name} no longer has the method ${method}`);
      keep(name, found.requestType);
      keep(name, found.responseType);
    }
  }
  if (remainingFields.size > 0)
    throw new Error(`Fields that no longer exist: ${[...remainingFields].join(', ')}`);
  return pruneNamespace(root, '', kept, (name) => methods[name.slice(packageName.length + 1)]);
}

const any = 'google.protobuf.Any';
/** Matches protobuf's scalar types, which are the only types with lower-case names without dots. */
const scalar = /^[a-z0-9]+$/;

/**
 * Returns the full name of a type, which protobuf resolves from the innermost scope outwards. Undefined for scalar
 * types.
 */
function resolve(root: Descriptor, scope: string, type: string): string | undefined {
  for (let outer = scope; ; outer = outer.slice(0, Math.max(0, outer.lastIndexOf('.')))) {
    const name = outer && !type.startsWith('.') ? `${outer}.${type}` : type.replace(/^\./, '');
    if (find(root, name)) return name;
    if (outer === '') break;
  }
  if (scalar.test(type)) return undefined;
  throw new Error(`The type ${type}, which ${scope} refers to, does not exist`);
}

function find(root: Descriptor, name: string): Descriptor | undefined {
  return name.split('.').reduce<Descriptor | undefined>((at, part) => at?.nested?.[part], root);
}

function pruneNamespace(
  { nested, ...own }: Descriptor,
  name: string,
  kept: ReadonlySet<string>,
  methodsOf: (service: string) => readonly string[] | undefined,
): Descriptor {
  const methods = methodsOf(name);
  const inner = Object.entries(nested ?? {})
    .map(([key, child]) => [name ? `${name}.${key}` : key, key, child] as const)
    .filter(([full]) => kept.has(full) || [...kept].some((one) => one.startsWith(`${full}.`)))
    .map(([full, key, child]) => [key, pruneNamespace(child, full, kept, methodsOf)] as const);
  return {
    ...own,
    ...(methods && { methods: pick(own.methods ?? {}, methods) }),
    ...(inner.length > 0 && { nested: Object.fromEntries(inner) }),
  };
}

function pick<T>(from: Readonly<Record<string, T>>, keys: readonly string[]): Record<string, T> {
  return Object.fromEntries(Object.entries(from).filter(([key]) => keys.includes(key)));
}
