#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Installs Debian's Chromium, for the browser tests, if there is no browser yet. The package lists of a fresh machine or image
# may be missing or old, and a mirror may stumble, so both steps are tried again.
set -euo pipefail

for browser in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
	if [ -n "$browser" ] && command -v "$browser" >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null; then
	echo "the browser tests need Chromium, and this machine has no apt-get to install it with: install it, or name a Chromium in CHROMIUM" >&2
	exit 1
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "the browser tests need Chromium: install the package chromium as root" >&2
		exit 1
	fi
	sudo=(sudo)
fi
again() {
	for try in 1 2 3; do
		if "${sudo[@]}" timeout 600 env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1; then return 0; fi
		echo "apt-get $1 failed (try $try of 3)" >&2
		sleep $((try * 5))
	done
	tail -20 "$log" >&2
	return 1
}
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
echo "installing chromium (once)"
again update
again install --yes --no-install-recommends chromium
