// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

// profile is the file that the operator's use of the processor is written to, while many Services are made; make pgo sets it.
var profile = os.Getenv("BENCH_PROFILE")

// profileSeconds is shorter than a thousand Services take.
const profileSeconds = 10

// profile writes the profile, if one is wanted, beside what goes on; the channel says when it is done.
func (x *bench) profile() <-chan error {
	done := make(chan error, 1)
	if profile == "" {
		done <- nil
		return done
	}
	go func() {
		done <- fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", pprofAddress, profileSeconds), profile)
	}()
	return done
}

func fetch(url, file string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s", url, r.Status, raw)
	}
	return os.WriteFile(file, raw, 0o600)
}
