export type Write = (text: string) => void;

/** The right to be shown after all turns that were taken before. */
export interface OutputSection {
  /** Shows the text now, or holds it back until the turn has come. */
  readonly write: Write;
  readonly end: () => void;
}

/** Lets texts that arise at the same time be read one after the other, each in the order of the turns taken. */
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
