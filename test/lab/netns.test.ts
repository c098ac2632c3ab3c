import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from './kernel';
import { type Host, type Lab, openLab, echoServerCommand } from './netns';

describeKernel('a lab of network namespaces', undefined, () => {
  let lab: Lab;
  let left: Host;
  let right: Host;

  beforeAll(async () => {
    lab = openLab();
    [left, right] = await Promise.all([lab.machine('left'), lab.machine('right')]);
    await lab.addVethPair(
      { machine: left, device: 'eth0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
      { machine: right, device: 'port' },
    );
    await lab.bridge({ machine: right, device: 'br0', addresses: ['10.0.0.2/24', 'fd00::2/64'] }, ['port']);
  });
  afterAll(() => lab.close());

  test('has cables and bridges that forward packets immediately, and peers that report the source address they see', async () => {
    const peer = right.spawn(echoServerCommand(8080));
    await peer.output(/listening on 8080/);
    await expect(left.run(['curl', '-sS', 'http://10.0.0.2:8080/'])).resolves.toBe('10.0.0.1\n');
    await expect(left.run(['curl', '-sS', 'http://[fd00::2]:8080/'])).resolves.toBe('fd00::1\n');
  });

  test('can coexist with another lab that uses the same machine labels', async () => {
    const other = openLab();
    const namesake = await other.machine('left');
    await expect(namesake.run(['ip', '-o', 'link'])).resolves.not.toContain('eth0');
    await other.close();
    await expect(left.run(['ip', '-o', 'link'])).resolves.toContain('eth0');
  });

  test('returns a non-zero exit code from exec, and throws an error from run', async () => {
    const argv = ['sh', '-c', 'cat; echo why >&2; exit 3'];
    await expect(left.exec(argv, { stdin: 'in' })).resolves.toMatchObject({
      code: 3,
      stdout: 'in',
      stderr: 'why\n',
    });
    await expect(left.run(argv)).rejects.toThrow(/exited with 3:\nwhy/);
  });

  test("kills a program that exceeds its timeout, together with the program's children", async () => {
    await expect(left.run(['sh', '-c', 'sleep 60 & wait'], { timeoutMs: 100 })).rejects.toThrow(
      'more than 100 ms',
    );
  });

  test('can wait for the output of a background program, and stop the program', async () => {
    const program = left.spawn(['sh', '-c', 'echo ready on 7; sleep 60']);
    expect((await program.output(/ready on (\d)/))[1]).toBe('7');
    await expect(program.stop()).resolves.toMatchObject({ signal: 'SIGTERM' });
    await expect(program.output(/never/)).rejects.toThrow('before it ended');
  });

  test('makes a mount visible only on its machine', async () => {
    const files = join(right.folder, 'files');
    mkdirSync(files);
    writeFileSync(join(files, 'hello'), 'from the lab');
    right.mount(files, '/mnt');
    await expect(right.run(['cat', '/mnt/hello'])).resolves.toBe('from the lab');
    await expect(left.run(['ls', '/mnt'])).resolves.not.toContain('hello');
    expect(existsSync('/mnt/hello')).toBe(false);
  });
});
