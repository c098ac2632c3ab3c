import type { OnLoadResult, Plugin } from 'esbuild';

/**
 * Loads some files of node_modules in another way. A file that the bundle does not ask for fails the build:
 * its package has changed, and what was written for the file it had may no longer do what it should.
 * @param files paths below node_modules
 */
export function replaceModules(
  name: string,
  files: readonly string[],
  load: (path: string, file: string) => OnLoadResult,
): Plugin {
  const filter = new RegExp(`[\\\\/]node_modules[\\\\/](${files.map(pattern).join('|')})$`);
  return {
    name,
    setup(build) {
      const missing = new Set(files);
      build.onLoad({ filter }, ({ path }) => {
        const file = files.find((one) => path.replaceAll('\\', '/').endsWith(`/node_modules/${one}`)) ?? '';
        missing.delete(file);
        return load(path, file);
      });
      build.onEnd(() => ({
        errors: [...missing].map((file) => ({
          text: `${file} is not in this bundle any more: look at what has changed, and adapt or drop the step ${name}`,
        })),
      }));
    },
  };
}

const pattern = (file: string): string => file.replaceAll('.', '\\.').replaceAll('/', '[\\\\/]');
