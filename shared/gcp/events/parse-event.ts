import { readAuditLogEntry, type AuditLogEntry } from './audit-log';
import { ignored, quoted, type ParsedEvent } from './event';
import { instanceInsertMethods, parseInstanceInserted } from './instance-inserted';
import { parseRoutesChanged, routeChangeMethods } from './routes-changed';

type Parse = (entry: AuditLogEntry) => ParsedEvent;

const parsers = new Map<string, Parse>([
  ...instanceInsertMethods.map((method) => [method, parseInstanceInserted] as const),
  ...routeChangeMethods.map((method) => [method, parseRoutesChanged] as const),
]);

/**
 * Parses an event from the audit log. Never throws.
 * @param projects the projects whose nodes are managed; if empty, all projects
 */
export function parseEvent(cloudEvent: unknown, projects: readonly string[] = []): ParsedEvent {
  const entry = readAuditLogEntry(cloudEvent);
  if (entry.kind === 'ignored') return entry;
  const parse = parsers.get(entry.method);
  if (!parse) return ignored(`${quoted(entry.methodName)} neither creates instances nor changes routes`);
  return ignoreOtherProjects(parse(entry), projects);
}

/**
 * Ignores nodes in other projects. A sink may also collect the logs of projects that are not managed, and a network may
 * be in a project without managed nodes.
 */
function ignoreOtherProjects(event: ParsedEvent, projects: readonly string[]): ParsedEvent {
  if (event.kind !== 'nodes-joined' || projects.length === 0) return event;
  const foreign = event.nodes.find(({ project }) => !projects.includes(project));
  return foreign ? ignored(`project ${quoted(foreign.project)} is not one of PEERMASQ_PROJECTS`) : event;
}
