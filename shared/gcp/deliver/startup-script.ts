/** Every version of the composed script starts with these lines, followed by a version number. */
const header = '#!/bin/bash\n# peermasq: startup script, version ';

/** The user's script follows this line and extends to the end of the file. */
const originalMarker = '# peermasq: the original startup script follows, unchanged';

/**
 * The block runs as root at every boot. The guest agent runs the startup script of the instance; it runs the project's
 * startup script only if the instance has none. The agent trims leading white space, writes the script to a separate
 * directory and runs `bash -c FILE` (GoogleCloudPlatform/guest-agent: google_metadata_script_runner/main.go). The block
 * runs the other scripts in the same way and in the same directory, where execution is allowed; /tmp may be mounted
 * noexec.
 */
const block = `1
# Runs the startup scripts that would run without peermasq, then starts peermasq. Exits with the status of these scripts.
here=$(dirname -- "$0")
code=0

metadata() { # PATH: prints the value; fails if there is none
  curl -q --noproxy '*' --silent --show-error --fail --max-time 30 --retry 5 --retry-connrefused \\
    --header 'Metadata-Flavor: Google' \\
    "http://\${GCE_METADATA_HOST:-169.254.169.254}/computeMetadata/v1/$1"
}

trimmed() {
  LC_ALL=C sed '/[^[:space:]]/,$!d' | LC_ALL=C sed '1s/^[[:space:]]*//'
}

run() { # FILE
  chmod 0755 -- "$1"
  /bin/bash -c '"$0"' "$1" || code=$?
}

run_original_of() { # SCRIPT: runs the user's script that follows peermasq's block in it
  local file=$here/startup-script.original
  LC_ALL=C sed '1,/^${originalMarker}$/d' "$1" | trimmed > "$file"
  run "$file"
}

has_original() { # SCRIPT
  grep -q '^${originalMarker}$' "$1"
}

is_ours() { # SCRIPT
  [[ $(head -n 2 -- "$1") == *'# peermasq: startup script'* ]]
}

download() { # URL or gs://BUCKET/OBJECT
  local token url=$1
  [[ $url == gs://* ]] && url=https://storage.googleapis.com/\${url#gs://}
  if [[ $url == https://storage.googleapis.com/* ]]; then
    token=$(metadata instance/service-accounts/default/token)
    token=\${token#*'"access_token":"'}
    token=\${token%%'"'*}
    curl --silent --fail --location --retry 5 --header @- "$url" <<< "Authorization: Bearer $token" && return
  fi
  curl --silent --show-error --fail --location --retry 5 "$url"
}

run_project_scripts() { # the guest agent skips them because this instance has a script
  local url file=$here/startup-script.project
  if metadata project/attributes/startup-script 2> /dev/null > "$file.raw" && [ -s "$file.raw" ]; then
    trimmed < "$file.raw" > "$file"
    if ! is_ours "$file"; then # otherwise Terraform seeded this script in the project
      run "$file"
    elif has_original "$file"; then
      run_original_of "$file"
    fi
  fi
  if url=$(metadata project/attributes/startup-script-url 2> /dev/null) && [ -n "$url" ]; then
    if download "$url" > "$file"; then run "$file"; else code=1; fi
  fi
}

start_peermasq() {
  local value=$here/peermasq-program program=$here/peermasq.sh
  metadata instance/attributes/peermasq-program 2> /dev/null > "$value" ||
    metadata project/attributes/peermasq-program > "$value" || return
  if [[ $(head -c 4 -- "$value") == H4sI ]]; then # gzip and base64
    base64 --decode "$value" | gzip --decompress > "$program"
  else
    mv -- "$value" "$program"
  fi
  [[ $(head -n 5 -- "$program") == *peermasq* ]] && bash -n "$program" && # it is the node program, and complete
    bash "$program" watch --install < /dev/null
}

hides_project_scripts() { # false if this script is itself the project's
  metadata instance/attributes/startup-script > /dev/null 2>&1 &&
    ! metadata instance/attributes/startup-script-url > /dev/null 2>&1
}

if has_original "$0"; then
  run_original_of "$0"
elif hides_project_scripts; then
  run_project_scripts
fi
start_peermasq || echo 'peermasq: not started; retried at the next boot' >&2
exit "$code"
`;

/**
 * Returns the script for an instance, or for a project that seeds it: peermasq's block, followed by the user's script
 * without any change. If the script already contains the block, nothing changes, except that the block of an earlier
 * version is replaced.
 * @param current the value of `startup-script`; absent or empty if there is none
 */
export function composeStartupScript(current: string | undefined): string {
  const original = originalStartupScript(current);
  return original === undefined ? `${header}${block}` : `${header}${block}${originalMarker}\n${original}`;
}

/** Returns the user's script without peermasq's block. Undefined if there is no user script. */
export function originalStartupScript(current: string | undefined): string | undefined {
  if (!current) return undefined;
  // The guest agent trims leading white space, so the script may start with white space.
  const script = current.trimStart();
  if (!script.startsWith(header)) return current;
  const at = script.indexOf(`\n${originalMarker}\n`);
  return at < 0 ? undefined : script.slice(at + originalMarker.length + 2);
}
