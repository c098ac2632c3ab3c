export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Runs programs as one machine of the lab would: in its namespaces. */
export interface Machine {
  run(argv: readonly string[], options?: RunOptions): Promise<CommandResult>;
}
