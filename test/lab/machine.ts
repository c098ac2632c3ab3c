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

/** Runs programs in the namespaces of one machine in the lab. */
export interface Machine {
  run(argv: readonly string[], options?: RunOptions): Promise<CommandResult>;
}
