main() {
  local command=${1:-help}
  case $command in
    apply | status | repair | probe | remove | watch | look) shift && "command_$command" "$@" ;;
    help | -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
  esac
}

main "$@"
