// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// compare measures two controllers in turn, the other one twice, so that the difference between its two runs shows how much is chance.
//
// base is the program of another revision of the operator (make bench-compare): everything is measured. rival is the command of any
// controller for Services of type LoadBalancer (make bench-rival): what can be asked of all of them is.
func compare(b *testing.B, base, rival string) {
	measure := everything
	if rival != "" {
		measure = basics
	}
	run := func(other bool) []row {
		x := start(b)
		if other {
			x.binary, x.command = absolute(base), rival
		}
		return measure(x)
	}
	before, this, after := run(true), run(false), run(true)
	heading := row{what: "", measured: "other / this / other", goal: "this by the mean of the others"}
	rows := []row{heading}
	for i, r := range this {
		if r.measured == "" {
			rows = append(rows, r)
			continue
		}
		all := []string{before[i].measured, r.measured, after[i].measured}
		rows = append(rows, row{r.what, strings.Join(all, " / "), ratio(all)})
	}
	if err := report(rows, numbers{}); err != nil {
		b.Fatal(err)
	}
}

func absolute(path string) string {
	out, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return out
}

var aNumber = regexp.MustCompile(`\d+(\.\d+)?`)

// ratio is the first number of what was measured in the middle by the mean of those before and after it; empty if there is none.
func ratio(measured []string) string {
	var n [3]float64
	for i, text := range measured {
		v, err := strconv.ParseFloat(aNumber.FindString(text), 64)
		if err != nil {
			return ""
		}
		n[i] = v
	}
	if mean := (n[0] + n[2]) / 2; mean > 0 {
		return fmt.Sprintf("%.2f x", n[1]/mean)
	}
	return ""
}

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		measured []string
		want     string
	}{
		{[]string{"2.0 s = 1.10 x", "1.5 s", "4.0 s"}, "0.50 x"},
		{[]string{"0 writes", "1 write", "0 writes"}, ""},
		{[]string{"go 5 s", "5 s", "none"}, ""},
	} {
		if got := ratio(c.measured); got != c.want {
			t.Errorf("%q: %q, want %q", c.measured, got, c.want)
		}
	}
}

// basics measures what can be asked of any controller, and stops the cluster.
func basics(x *bench) []row {
	defer x.stop()
	n := number("BENCH_SERVICES", 1000)
	rows := x.appear(n)
	rows = append(rows, x.oneChange()...)
	rows = append(rows, x.again()...)
	return append(rows, x.vanish()...)
}

// addressed is how many Services have an address.
func (x *bench) addressed() (n int) {
	var list corev1.ServiceList
	x.must(x.client.List(x.Context(), &list, client.InNamespace(namespace)))
	for _, s := range list.Items {
		if len(s.Status.LoadBalancer.Ingress) > 0 {
			n++
		}
	}
	return n
}

// appear: n Services wait when the controller starts.
func (x *bench) appear(n int) []row {
	for i := range n {
		x.must(x.create(x.service(fmt.Sprintf("s%05d", i), 2)))
	}
	x.sim.ResetRequests()
	x.run()
	x.patiently("addresses", func() bool { return x.addressed() >= n && x.quiet(3*time.Second) })
	first, last := span(x.sim.Writes())
	return []row{
		{"first call to last", fmt.Sprintf("%.1f s", last.Sub(first).Seconds()), ""},
		{"calls per Service", fmt.Sprintf("%.2f writes, %.3f reads", float64(len(x.sim.Writes()))/float64(n), float64(x.readsAfter(first))/float64(n)), ""},
		{"processor time", fmt.Sprintf("%.1f s", x.processorTime()), ""},
		{"peak memory", fmt.Sprintf("%.1f MiB resident, %.1f MiB of its own now", mib(x.memory("VmHWM")), mib(x.memory("RssAnon"))), ""},
	}
}

// processorTime is what the controller has used, in seconds.
func (x *bench) processorTime() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.operator.Process.Pid))
	x.must(err)
	_, used := processorTime(string(raw))
	return used
}

// oneChange: an endpoint stops being ready, at rest.
func (x *bench) oneChange() []row {
	var took []float64
	for i := range 9 {
		x.patiently("quiet", func() bool { return x.quiet(3 * time.Second) })
		x.sim.ResetRequests()
		s := new(discoveryv1.EndpointSlice)
		x.must(x.client.Get(x.Context(), types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("s%05d-0", i)}, s))
		s.Endpoints = s.Endpoints[:1]
		begin := time.Now()
		x.must(x.client.Update(x.Context(), s))
		x.patiently("the change", func() bool { return len(x.sim.Writes()) > 0 })
		_, last := span(x.sim.Writes()[:1])
		took = append(took, last.Sub(begin).Seconds())
	}
	slices.Sort(took)
	return []row{{"one endpoint goes, to the end of the first write, median of 9", fmt.Sprintf("%.3f s", took[len(took)/2]), ""}}
}

// again: the controller is started anew where all is as it should be.
func (x *bench) again() []row {
	x.halt()
	x.sim.ResetRequests()
	x.run()
	x.patiently("calls after the restart", func() bool { return len(x.sim.Requests()) > 0 && x.quiet(10*time.Second) })
	first, last := span(x.sim.Requests())
	return []row{
		{"restart", fmt.Sprintf("%d writes, %d calls in %.1f s", len(x.sim.Writes()), len(x.sim.Requests()), last.Sub(first).Seconds()), ""},
		{"peak memory after it", fmt.Sprintf("%.1f MiB resident", mib(x.memory("VmHWM"))), ""},
	}
}

// vanish: all Services are deleted.
func (x *bench) vanish() []row {
	x.sim.ResetRequests()
	begin := time.Now()
	x.must(x.client.DeleteAllOf(x.Context(), &corev1.Service{}, client.InNamespace(namespace)))
	x.patiently("the end of all Services", func() bool {
		var list corev1.ServiceList
		x.must(x.client.List(x.Context(), &list, client.InNamespace(namespace)))
		return len(list.Items) == 0 && x.quiet(5*time.Second)
	})
	_, last := span(x.sim.Writes())
	return []row{{"all deleted", fmt.Sprintf("%.1f s, %d calls; %d virtual services left", last.Sub(begin).Seconds(), len(x.sim.Requests()), len(x.sim.Objects("virtualservice"))), ""}}
}

// patiently waits as wait does, longer: others may need it.
func (x *bench) patiently(what string, holds func() bool) {
	x.Helper()
	for end := time.Now().Add(20 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if holds() {
			return
		}
	}
	raw, _ := os.ReadFile(x.log.Name())
	x.Fatalf("%s: not within 20 minutes; the controller's log ends with\n%s", what, raw[max(0, len(raw)-4000):])
}
