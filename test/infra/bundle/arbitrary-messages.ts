import fc from 'fast-check';
import type { Enum, Field, Type } from 'protobufjs';

/**
 * Options for generated messages. The messages are valid JSON in the protobuf format:
 * https://protobuf.dev/programming-guides/json/
 */
export interface MessageOptions {
  /** Whether every field has a value. Otherwise, any field may be missing. */
  readonly isWhole: boolean;
  /** Whether to add unknown fields and enum values, as a newer API version would. */
  readonly isNewer: boolean;
}

type Json = Record<string, unknown>;

/** Generates non-empty words without slashes, because some request fields become part of the URL path. */
const text = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const number64 = (min: bigint, max: bigint) => fc.bigInt({ min, max }).map(String);
const scalars: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  string: text,
  bool: fc.boolean(),
  int32: fc.integer(),
  uint32: fc.nat(),
  int64: number64(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: number64(0n, 2n ** 64n - 1n),
  float: fc.float({ noNaN: true, noDefaultInfinity: true }),
  double: fc.double({ noNaN: true, noDefaultInfinity: true }),
};

/**
 * Generates messages of a type.
 * @param outer the types of the enclosing messages, which limit the depth of recursive types
 */
export function arbitraryMessage(
  type: Type,
  options: MessageOptions,
  outer: readonly Type[] = [],
): fc.Arbitrary<Json> {
  const fields = Object.fromEntries(
    type.fieldsArray.map((field) => [field.name, arbitraryField(field, options, [...outer, type])]),
  );
  // Fields that are not optional, such as those in a URL path, are always present.
  const required = type.fieldsArray
    .filter(({ options: own }) => !own?.['proto3_optional'])
    .map(({ name }) => name);
  const message = fc.record(fields, options.isWhole ? {} : { requiredKeys: required });
  return options.isNewer
    ? fc
        .tuple(message, fc.option(fc.jsonValue({ maxDepth: 2 })))
        .map(([known, unknown]) => (unknown === null ? known : { ...known, fieldOfTomorrow: unknown }))
    : message;
}

function arbitraryField(
  field: Field,
  options: MessageOptions,
  outer: readonly Type[],
): fc.Arbitrary<unknown> {
  // The API leaves these fields empty (see infra/bundle/compute-protos.ts).
  if (field.type === 'google.protobuf.Any' && field.repeated) return fc.constant([]);
  const size = { minLength: options.isWhole ? 1 : 0, maxLength: 2 };
  const one = arbitraryValue(field, options, outer);
  if (field.map) {
    if (!('keyType' in field) || field.keyType !== 'string')
      throw new Error('Cannot generate maps whose keys are not strings');
    return fc.dictionary(text, one, { minKeys: size.minLength, maxKeys: size.maxLength });
  }
  return field.repeated ? fc.array(one, size) : one;
}

function arbitraryValue(
  field: Field,
  options: MessageOptions,
  outer: readonly Type[],
): fc.Arbitrary<unknown> {
  const { resolvedType } = field.resolve();
  if (resolvedType === null) {
    const scalar = scalars[field.type];
    if (!scalar) throw new Error(`No generator for ${field.type}`);
    return scalar;
  }
  if (isEnum(resolvedType)) {
    const names = Object.keys(resolvedType.values);
    return fc.constantFrom(...names, ...(options.isNewer ? ['VALUE_OF_TOMORROW'] : []));
  }
  return outer.includes(resolvedType) ? fc.constant({}) : arbitraryMessage(resolvedType, options, outer);
}

const isEnum = (type: Type | Enum): type is Enum => 'values' in type;
