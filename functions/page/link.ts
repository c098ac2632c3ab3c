import { emptyForm, type Form } from './form';

/**
 * The maximum length of a link's fragment. Chat programs and ticket systems cut longer links; browsers themselves
 * accept more.
 */
const maxFragmentLength = 30_000;

/** A link can be crafted to expand to any size, so reading stops here. */
const maxFormLength = 4 * 1024 * 1024;

/**
 * Encodes the form as the fragment of a link. Browsers do not send the fragment to a server.
 * @returns undefined if the input is too long for a link
 */
export async function fragmentOf(form: Form): Promise<string | undefined> {
  const json = new TextEncoder().encode(JSON.stringify(form));
  const compressed = await collect(through(json, new CompressionStream('deflate-raw')), Infinity);
  const fragment = toBase64Url(compressed);
  return fragment.length <= maxFragmentLength ? fragment : undefined;
}

/**
 * Decodes the fragment of a link.
 * @param fragment with or without the leading `#`
 * @returns undefined if the fragment is not one that `fragmentOf` made
 */
export async function formOf(fragment: string): Promise<Form | undefined> {
  try {
    const compressed = fromBase64Url(fragment.replace(/^#/, ''));
    const bytes = await collect(through(compressed, new DecompressionStream('deflate-raw')), maxFormLength);
    return readForm(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}

function readForm(value: unknown): Form | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const text = (name: string) => {
    const field = fields[name];
    return typeof field === 'string' ? field : '';
  };
  return {
    rules: text('rules'),
    from: text('from'),
    to: text('to'),
    protocol: fields['protocol'] === 'udp' ? 'udp' : emptyForm.protocol,
    want: fields['want'] === 'direct' ? 'direct' : emptyForm.want,
    assumeComplete: fields['assumeComplete'] === true,
  };
}

type ByteStream = ReadableStream<Uint8Array>;

const through = (bytes: Uint8Array, transform: GenericTransformStream): ByteStream =>
  new Blob([bytes.slice()]).stream().pipeThrough(transform) as ByteStream;

async function collect(stream: ByteStream, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > limit) throw new RangeError('The link is too large');
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function toBase64Url(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function fromBase64Url(text: string): Uint8Array {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
