interface NotShownProps {
  readonly notShown: readonly string[];
  readonly assumedComplete: boolean;
  readonly warnings: readonly string[];
}

/** Names what the input does not show and could change the answer, and what was assumed about the input. */
export function NotShown({ notShown, assumedComplete, warnings }: NotShownProps) {
  return (
    <>
      {notShown.length > 0 && (
        <p class="note">
          Not shown: {notShown.join('; ')}. Rules there could change the answer. Paste the output of the
          script that <code>peermasq collect</code> prints
          {assumedComplete ? '' : ', or tick “These are all rules of the node”'}.
        </p>
      )}
      {warnings.map((warning) => (
        <p key={warning} class="note">
          Warning: {warning}
        </p>
      ))}
    </>
  );
}
