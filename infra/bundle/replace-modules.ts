import type { OnLoadResult, Plugin } from 'esbuild';

/**
 * Replaces the contents of some files in node_modules. If the bundle does not load one of the files, the build fails,
 * because the package has changed and the replacement may no longer fit.
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
          text: `${file} is no longer in this bundle. Check what has changed, and adapt or remove the step ${name}.`,
        })),
      }));
    },
  };
}

const pattern = (file: string): string => file.replaceAll('.', '\\.').replaceAll('/', '[\\\\/]');
