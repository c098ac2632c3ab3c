/**
 * Returns an object file with one BPF program for tc, as a compiler would write it. The program sends every IPv4
 * packet out through the device with this index and bypasses iptables, as eBPF host routing does.
 */
export function redirectProgram(deviceIndex: number): Buffer {
  const code = Buffer.concat([
    // r2 = the packet's protocol. Packets that are not IPv4 continue as they would without the program.
    instruction({ opcode: 0x61, registers: 0x12, offset: 16 }),
    instruction({ opcode: 0x15, registers: 2, offset: 2, value: 0x0008 }),
    instruction({ opcode: 0xb7, registers: 0, value: -1 }),
    instruction({ opcode: 0x95 }),
    // bpf_redirect_neigh(deviceIndex, 0, 0, 0)
    instruction({ opcode: 0xb7, registers: 1, value: deviceIndex }),
    instruction({ opcode: 0xb7, registers: 2 }),
    instruction({ opcode: 0xb7, registers: 3 }),
    instruction({ opcode: 0xb7, registers: 4 }),
    instruction({ opcode: 0x85, value: 152 }),
    instruction({ opcode: 0x95 }),
  ]);
  const names = Buffer.from('\0names\0symbols\0tc\0license\0cil_from_container\0_license\0');
  const nameAt = (name: string) => names.indexOf(`\0${name}\0`) + 1;
  const symbols = Buffer.concat([
    Buffer.alloc(24),
    symbol({ name: nameAt('cil_from_container'), info: 0x12, section: 3, size: code.length }),
    symbol({ name: nameAt('_license'), info: 0x11, section: 4, size: 4 }),
  ]);
  const contents = [names, symbols, code, Buffer.from('GPL\0')].map(padded);
  const headers = [
    { name: nameAt('names'), type: 3, flags: 0, size: names.length, link: 0, entry: 0 },
    { name: nameAt('symbols'), type: 2, flags: 0, size: symbols.length, link: 1, entry: 24 },
    { name: nameAt('tc'), type: 1, flags: 6, size: code.length, link: 0, entry: 0 },
    { name: nameAt('license'), type: 1, flags: 3, size: 4, link: 0, entry: 0 },
  ].map((section, i) =>
    sectionHeader({ ...section, offset: headerSize + Buffer.concat(contents.slice(0, i)).length }),
  );
  const body = Buffer.concat(contents);
  return Buffer.concat([
    fileHeader({ sectionsAt: headerSize + body.length, sections: headers.length + 1 }),
    body,
    Buffer.alloc(headerSize),
    ...headers,
  ]);
}

/** The size of the file header, and the size of a section header. */
const headerSize = 64;

const padded = (part: Buffer) => Buffer.concat([part, Buffer.alloc((8 - (part.length % 8)) % 8)]);

interface Instruction {
  readonly opcode: number;
  /** The source register times 16, plus the destination register. */
  readonly registers?: number;
  readonly offset?: number;
  readonly value?: number;
}

function instruction({ opcode, registers = 0, offset = 0, value = 0 }: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(opcode, 0);
  bytes.writeUInt8(registers, 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(value, 4);
  return bytes;
}

function symbol({ name, info, section, size }: Record<'name' | 'info' | 'section' | 'size', number>): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt32LE(name, 0);
  bytes.writeUInt8(info, 4);
  bytes.writeUInt16LE(section, 6);
  bytes.writeUInt32LE(size, 16);
  return bytes;
}

function sectionHeader(
  section: Record<'name' | 'type' | 'flags' | 'offset' | 'size' | 'link' | 'entry', number>,
): Buffer {
  const bytes = Buffer.alloc(headerSize);
  bytes.writeUInt32LE(section.name, 0);
  bytes.writeUInt32LE(section.type, 4);
  bytes.writeUInt32LE(section.flags, 8);
  bytes.writeUInt32LE(section.offset, 24);
  bytes.writeUInt32LE(section.size, 32);
  bytes.writeUInt32LE(section.link, 40);
  // The index of the first symbol that is not local.
  bytes.writeUInt32LE(section.link, 44);
  bytes.writeUInt32LE(8, 48);
  bytes.writeUInt32LE(section.entry, 56);
  return bytes;
}

function fileHeader({ sectionsAt, sections }: { sectionsAt: number; sections: number }): Buffer {
  const bytes = Buffer.alloc(headerSize);
  // The file is a 64-bit little-endian ELF: a relocatable object (1) for BPF (247).
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeUInt16LE(1, 16);
  bytes.writeUInt16LE(247, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeUInt32LE(sectionsAt, 40);
  bytes.writeUInt16LE(headerSize, 52);
  bytes.writeUInt16LE(headerSize, 58);
  bytes.writeUInt16LE(sections, 60);
  bytes.writeUInt16LE(1, 62);
  return bytes;
}
