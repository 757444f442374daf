package avisim

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
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestMain runs the tests, or as a child of TestKill a server that writes until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("AVISIM_TEST_STATE"); path != "" {
		if err := writeForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func restart(t testing.TB, s *Server, o Options) *Server {
	t.Helper()
	s.Close()
	o.Addr = s.Host()
	return start(t, o)
}

func TestRestart(t *testing.T) {
	now := newClock()
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), Now: now.now, Seed: 7}
	s, c := signedIn(t, o)
	w := &stage{t, c, s, now}
	ids := c.service("amf", "10.20.1.1")
	if err := s.AddTenant("red"); err != nil {
		t.Fatal(err)
	}
	odd := obj{"$ref": "pool/x", "$$ref": []any{obj{"$a": 1}}, "plain": obj{"$ref": "a", "b": "c"}}
	if _, err := s.Create("webhook", "red", obj{"name": "odd", "kv": odd}); err != nil {
		t.Fatal(err)
	}
	late := c.want(201, "POST", "/api/user-token", obj{"hours": 5})
	c.want(200, "PUT", "/api/cluster", obj{"name": "renamed"})
	s.SetServerHealth("10.20.1.1", 30100, false, "no INIT ACK")
	if err := s.FailServiceEngine("Avi-se-1", "power"); err != nil {
		t.Fatal(err)
	}
	c.want(200, "PUT", "/api/useraccount", obj{"username": "admin", "old_password": "avi123$%", "password": "changed"})
	c2 := newClient(t, s)
	c2.want(200, "POST", "/login", obj{"username": "admin", "password": "changed"})
	before, ca := s.Tree(), string(s.CAPEM())
	vs := w.mustObject("virtualservice", "amf")

	s = restart(t, s, o)
	if after := s.Tree(); !reflect.DeepEqual(before, after) {
		t.Errorf("the objects differ:\n%v\n%v", before, after)
	}
	if string(s.CAPEM()) != ca {
		t.Error("another CA")
	}
	consistent(t, s)
	c2.server = s
	r := c2.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil) // with the session and the CA of before
	if !strings.Contains(r.raw, "power") || str(c2.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"], nil).body, "_last_modified") != str(vs, "_last_modified") {
		t.Error(r.raw)
	}
	if name := str(c2.want(200, "GET", "/api/cluster", nil).body, "name"); name != "renamed" {
		t.Errorf("cluster %q", name)
	}
	if err := s.RecoverServiceEngine("Avi-se-1"); err != nil {
		t.Fatal(err)
	}
	if r := c2.want(200, "GET", "/api/pool/"+ids["pool"]+"/runtime/server", nil); !strings.Contains(r.raw, "no INIT ACK") {
		t.Error(r.raw)
	}
	for cred, want := range map[string]int{"changed": 200, "avi123$%": 401, str(late.body, "token"): 200} {
		newClient(t, s).want(want, "POST", "/login", obj{"username": "admin", "password": cred})
	}
	// Life goes on: uuids and times do not come twice, addresses neither.
	c = newClient(t, s)
	c.want(200, "POST", "/login", obj{"username": "admin", "password": "changed"})
	if _, err := s.Create("vsvip", "admin", vsvipBody("second")); err != nil {
		t.Fatal(err)
	}
	second, _ := s.Object("vsvip", "admin", "second")
	if addresses(second) != "10.10.0.11" || str(second, "_last_modified") <= str(vs, "_last_modified") {
		t.Errorf("%v", second)
	}
	consistent(t, s)

	// A new password in the options is one that somebody wants to use.
	o.Password = "from-options"
	s = restart(t, s, o)
	newClient(t, s).want(200, "POST", "/login", obj{"username": "admin", "password": "from-options"})
	if i, err := os.Stat(o.StateFile); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v: it holds secrets", i.Mode(), err)
	}
	// A name that the certificate lacks makes a new one.
	o.HostNames = []string{"avi.example.org"}
	if s = restart(t, s, o); string(s.CAPEM()) == ca {
		t.Error("the certificate is the old one, which is not for avi.example.org")
	}
	// An older Controller does not know what a newer one has stored.
	s.Close()
	o.Version = "22.1.2"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "30.2.1") {
		t.Error(err)
	}
}

// TestDamaged shows that nothing but a whole state is read, and that whatever else is there stays as it is.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s := start(t, Options{StateFile: path})
	s.Close()
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
			s, err := New(Options{StateFile: path})
			if err == nil {
				s.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "nothing was changed") {
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

func (k *memoryKeeper) load() (*snapshot, error) { return nil, nil }
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
	s, c := signedIn(t, Options{Logf: func(f string, a ...any) { logged <- fmt.Sprintf(f, a...) }})
	k := &memoryKeeper{saved: make(chan *snapshot, 100), fail: errors.New("disk full")}
	s.world.saveTo(k)
	for i := range 20 {
		c.want(201, "POST", "/api/pool", poolBody(fmt.Sprint("p", i)))
	}
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
	c.want(200, "GET", "/api/pool", nil)
	time.Sleep(2 * saveDelay)
	if len(k.saved) != 0 {
		t.Errorf("%d saves without a change", len(k.saved))
	}
}

// writeForEver is the child of TestKill. It says what it has saved for certain, one number a line.
func writeForEver(path string) error {
	s, err := New(Options{StateFile: path})
	if err != nil {
		return err
	}
	for i := len(s.Objects("vsvip")); ; i++ {
		for _, o := range []struct {
			typ  string
			body obj
		}{{"vsvip", vsvipBody(fmt.Sprint("n", i))}, {"pool", poolBody(fmt.Sprint("n", i), "10.20.1.1")}} {
			if _, err := s.Create(o.typ, "admin", o.body); err != nil {
				return err
			}
		}
		if i%7 == 0 {
			if err := s.Save(); err != nil {
				return err
			}
			fmt.Println(i + 1)
		}
	}
}

// TestKill kills a server again and again while it saves, and starts it on what it left.
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
		s, err := New(Options{StateFile: path})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if n := len(s.Objects("vsvip")); n < certain {
			t.Errorf("round %d: %d VsVips came back, %d were saved", round, n, certain)
		}
		consistent(t, s)
		s.Close()
	}
}

// TestAddVIPNetworkAgain shows that a program may add its networks at every start.
func TestAddVIPNetworkAgain(t *testing.T) {
	s := start(t, Options{})
	for range 2 {
		for _, p := range []string{"10.77.0.0/24", "10.78.0.0/24"} {
			if err := s.AddVIPNetwork("more", netip.MustParsePrefix(p), netip.Addr{}, netip.Addr{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, _ := s.Object("network", "admin", "more")
	if l := messages(n["configured_subnets"]); len(l) != 2 {
		t.Errorf("%d subnets", len(l))
	}
}
