# --- main ---

main() {
  local command=${1:-help}
  case $command in
    apply | status | repair | probe | remove | watch | snapshot)
      shift
      "command_$command" "$@"
      ;;
    help | -h | --help) usage ;;
    *) exit_usage ;;
  esac
}

main "$@"
