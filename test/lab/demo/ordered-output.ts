export type Write = (text: string) => void;

/** A section of the output. It is shown after all sections that were opened before it. */
export interface OutputSection {
  /** Shows the text immediately, or buffers it until the earlier sections are closed. */
  readonly write: Write;
  readonly end: () => void;
}

/** Orders concurrent output: sections are shown in the order in which they were opened. */
export function serializeOutput(write: Write): () => OutputSection {
  const open: { readonly held: string[]; hasEnded: boolean }[] = [];
  return () => {
    const own = { held: [] as string[], hasEnded: false };
    open.push(own);
    return {
      write: (text) => {
        if (open[0] === own) write(text);
        else own.held.push(text);
      },
      end: () => {
        own.hasEnded = true;
        while (open.at(0)?.hasEnded) {
          open.shift();
          for (const text of open.at(0)?.held ?? []) write(text);
        }
      },
    };
  };
}
