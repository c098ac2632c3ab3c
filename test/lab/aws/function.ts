import {
  startExecutionEnvironment,
  type ExecutionEnvironment,
  type EnvironmentSettings,
  type Invocation,
} from './execution-environment';

/** A deployed function. It keeps its processes for further invocations. */
export interface LabFunction {
  /** @throws the same errors as `invoke` of the execution environment */
  invoke(event: unknown): Promise<Invocation>;
  close(): Promise<void>;
}

export interface FunctionSettings extends EnvironmentSettings {
  /** A callback that runs after each invocation. */
  readonly onInvoked?: (invocation: Invocation) => void;
}

export function startFunction(settings: FunctionSettings): LabFunction {
  const all = new Set<ExecutionEnvironment>();
  const idle: ExecutionEnvironment[] = [];

  function acquire(): ExecutionEnvironment {
    const warm = idle.pop();
    if (warm) return warm;
    const environment = startExecutionEnvironment(settings);
    all.add(environment);
    return environment;
  }
  async function release(environment: ExecutionEnvironment): Promise<void> {
    if (environment.isAlive) {
      idle.push(environment);
      return;
    }
    all.delete(environment);
    await environment.close();
  }

  return {
    async invoke(event) {
      const environment = acquire();
      try {
        const invocation = await environment.invoke(event);
        settings.onInvoked?.(invocation);
        return invocation;
      } finally {
        await release(environment);
      }
    },
    async close() {
      await Promise.all([...all].map((environment) => environment.close()));
    },
  };
}
