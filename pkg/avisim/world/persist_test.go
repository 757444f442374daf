// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// TestMain runs the tests, or as a child of TestKill a world that is written to until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("AVISIM_TEST_STATE"); path != "" {
		if err := writeForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestLock shows that a state file has one world at a time.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	first := open(t, Settings{StateFile: path})
	if _, err := New(Settings{StateFile: path}); err == nil || !strings.Contains(err.Error(), "another simulator's") {
		t.Errorf("a second one: %v", err)
	}
	first.StopSaving()
	if _, err := New(Settings{StateFile: path, Version: "20.1.1"}); err == nil || !strings.Contains(err.Error(), "start with that version") {
		t.Errorf("an older one: %v", err) // and it gives the file up
	}
	open(t, Settings{StateFile: path})
	if _, err := New(Settings{StateFile: filepath.Join(path, "state.json")}); err == nil || !strings.Contains(err.Error(), "locking") {
		t.Errorf("no folder: %v", err)
	}
}

// TestDamaged shows that nothing but a whole state is read, and that whatever else is there stays as it is.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	open(t, Settings{StateFile: path}).StopSaving()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// signed gives a changed state a checksum that fits, as a mistake in the program would.
	signed := func(old, now string) []byte {
		b := bytes.Replace(good, []byte(old), []byte(now), 1)
		b = b[:bytes.LastIndex(b, []byte(trailer))]
		return fmt.Appendf(b, "%s%x\"}\n", trailer, sha256.Sum256(b))
	}
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":            {nil, "its end is missing"},
		"half":             {good[:len(good)/2], "its end is missing"},
		"another file":     {[]byte("clouds: []\n"), "its end is missing"},
		"one letter":       {bytes.Replace(good, []byte("System-TCP"), []byte("System-TCB"), 1), "checksum"},
		"other format":     {signed(`"format":1`, `"format":9`), "format 1"},
		"not JSON":         {signed(`"format":1`, `"format":`), "invalid character"},
		"unknown type":     {signed(`"type":"sslprofile"`, `"type":"nonsense"`), "not known"},
		"bad reference":    {signed(`{"$ref":"tenant/admin"}`, `{"$ref":"nothing"}`), "type/uuid"},
		"lost object":      {signed(`{"$ref":"tenant/admin"}`, `{"$ref":"tenant/nobody"}`), "not there"},
		"two of one name":  {signed(`"name":"System-TCP-Proxy"`, `"name":"System-SCTP-Proxy"`), "named"},
		"no tenant":        {signed(`{"type":"tenant","uuid":"admin"`, `{"type":"tenant","uuid":"adm"`), "not there"},
		"a body that is 0": {signed(`"body":{`, `"body":0,"x":{`), "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := New(Settings{StateFile: path})
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(),
				"nothing was changed") {
				t.Error(err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, tt.content) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

// memoryKeeper keeps the last state, or fails.
type memoryKeeper struct {
	saved chan *snapshot
	fail  error
}

func (k *memoryKeeper) save(s *snapshot) error {
	if err := k.fail; err != nil {
		k.fail = nil
		return err
	}
	k.saved <- s
	return nil
}

// TestSavesAfterChanges shows that many changes make few saves, that reads make none, and that a failed save is repeated.
func TestSavesAfterChanges(t *testing.T) {
	logged := make(chan string, 10)
	w := open(t, Settings{Logf: func(f string, a ...any) { logged <- fmt.Sprintf(f, a...) }})
	k := &memoryKeeper{saved: make(chan *snapshot, 100), fail: errors.New("disk full")}
	w.saveTo(k)
	t.Cleanup(w.StopSaving)
	w.Write(func(s *Writer) { // at once, so that no save comes between two of them
		for i := range 20 {
			if _, err := s.Apply(Write{Kind: KindOf("pool"), At: s.version, Tenant: AdminTenant,
				Incoming: obj{"name": fmt.Sprint("p", i)}}); err != nil {
				t.Error(err)
			}
		}
	})
	var got *snapshot
	select {
	case got = <-k.saved:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was saved")
	}
	n := 0
	for _, o := range got.Objects {
		if o.Type == "pool" {
			n++
		}
	}
	if n != 20 {
		t.Errorf("%d pools saved", n)
	}
	if text := <-logged; !strings.Contains(text, "disk full") {
		t.Error(text)
	}
	w.Admin().Objects("pool")
	if saver := w.saver.Load(); len(saver.wake) != 0 || len(k.saved) != 0 {
		t.Errorf("%d saves without a change, %d to come", len(k.saved), len(saver.wake))
	}
}

// writeForEver is the child of TestKill. It says what it has saved for certain, one number a line.
func writeForEver(path string) error {
	w, err := New(Settings{StateFile: path})
	if err != nil {
		return err
	}
	w.StartSaving()
	for i := len(w.Admin().Objects("vsvip")); ; i++ {
		for _, o := range []struct {
			typ  string
			body obj
		}{{"vsvip", vsvip(fmt.Sprint("n", i))}, {"pool", pool(fmt.Sprint("n", i), "10.20.1.1")}} {
			if _, err := w.Admin().Create(o.typ, AdminTenant, o.body); err != nil {
				return err
			}
		}
		if i%7 == 0 {
			if err := w.Save(); err != nil {
				return err
			}
			fmt.Println(i + 1)
		}
	}
}

// TestKill kills a program again and again while it saves, and starts it on what it left.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "AVISIM_TEST_STATE="+path)
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		certain := 0
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &certain); err != nil {
				t.Fatal(err)
			}
			if n == 0 { // from here on it may happen at any moment
				time.AfterFunc(time.Duration(3+round*round*3)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || problems.Len() > 0 {
			t.Fatalf("round %d: %v %s", round, err, problems.String())
		}
		w, err := New(Settings{StateFile: path})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if n := len(w.Admin().Objects("vsvip")); n < certain {
			t.Errorf("round %d: %d VsVips came back, %d were saved", round, n, certain)
		}
		if err := w.Audit(); err != nil {
			t.Error(err)
		}
		w.StopSaving() // leaves the file to the next round
	}
}

// TestAddVIPNetworkAgain shows that a program may add its networks at every start.
func TestAddVIPNetworkAgain(t *testing.T) {
	s := open(t, Settings{}).Admin()
	for range 2 {
		for _, p := range []string{"10.77.0.0/24", "10.78.0.0/24"} {
			if err := s.AddVIPNetwork("more", netip.MustParsePrefix(p), netip.Addr{}, netip.Addr{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, _ := s.Object("network", "admin", "more")
	if l := doc.Messages(n["configured_subnets"]); len(l) != 2 {
		t.Errorf("%d subnets", len(l))
	}
}
