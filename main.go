// SPDX-License-Identifier: Apache-2.0

// Command avi-l4-operator puts Kubernetes Services behind an Avi Controller.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/fence"
	"github.com/avi-l4-operator/avi-l4-operator/internal/metricsfilter"
	"github.com/avi-l4-operator/avi-l4-operator/internal/probes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/tracing"
	"github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

// program is the operator's name in its log, its requests and its Events.
const program = "avi-l4-operator"

type options struct {
	controllers.Options
	metricsAddr, probeAddr, pprofAddr                string
	metricsSecure                                    bool
	metricsCertPath, metricsCertName, metricsCertKey string
	leaseName, leaseNamespace                        string
	kubeQPS                                          float64
	kubeBurst                                        int
	traceEndpoint                                    string
	traceShare                                       float64
	logLevel, logFormat                              string
	version                                          bool
	preview, handBack                                bool
	lease, renew, retry                              time.Duration
}

// parse reads the process's flags. A wrong one ends it with exit code 1: 2, the flag package's own, is the one of exitChanges.
func parse() (options, error) {
	o := options{}
	flag.CommandLine.Init(program, flag.ContinueOnError)
	o.define(flag.CommandLine)
	o.defineServers(flag.CommandLine)
	return o, flag.CommandLine.Parse(os.Args[1:])
}

// define adds the operator's flags to a set.
func (o *options) define(flag *flag.FlagSet) {
	flag.StringVar(&o.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "The operator's own namespace, with ConfigMap avi-k8s-config and Secret avi-secret (default $POD_NAMESPACE).")
	flag.StringVar(&o.CAFile, "avi-ca-file", "", "File of PEM certificates to trust besides those of the Secret; read again when it changes.")
	flag.BoolVar(&o.LeaderElect, "leader-elect", false, "Elect a leader, so that one of several replicas writes.")
	flag.DurationVar(&o.lease, "leader-elect-lease-duration", 15*time.Second, "How long a standby waits for a leader that renews its lease no more, in whole seconds.")
	flag.DurationVar(&o.renew, "leader-elect-renew-deadline", 10*time.Second, "How long a leader tries to renew its lease before it ends; less than the lease's duration.")
	flag.DurationVar(&o.retry, "leader-elect-retry-period", 2*time.Second, "How often the lease is renewed, and a standby looks at it.")
	flag.StringVar(&o.leaseName, "leader-elect-id", "avi-l4-operator.ako.vmware.com", "Name of the Lease that the leader holds. Replicas of one installation need the same.")
	flag.StringVar(&o.leaseNamespace, "leader-elect-namespace", "", "Namespace of that Lease; the operator's role reaches its own only (default --namespace).")
	flag.StringVar(&o.logLevel, "zap-log-level", "", "debug, info, warn or error; overrides logLevel of the ConfigMap.")
	flag.StringVar(&o.logFormat, "zap-encoder", "json", "json or console.")
	flag.IntVar(&o.Workers, "workers", 16, "Services, and Gateways, worked on at once.")
	flag.IntVar(&o.Concurrency, "avi-concurrency", 8, "Calls to the Controller at once.")
	flag.Float64Var(&o.QPS, "avi-qps", 0, "Calls to the Controller per second; 0 is no limit.")
	flag.DurationVar(&o.Timeout, "avi-timeout", 30*time.Second, "Bound of one call to the Controller.")
	flag.DurationVar(&o.Refresh, "refresh-interval", 5*time.Minute, "How often everything of ours is read from the Controller and put right.")
	flag.DurationVar(&o.Health, "health-interval", 15*time.Second, "How often the Controller's inventory is read for condition Healthy.")
	flag.Float64Var(&o.DeletionShare, "deletion-share", 0.2, "Largest part of our Services and Gateways that may lose their objects within 5 minutes because they don't exist, or are not selected any more by settings or labels; never all.")
	flag.BoolVar(&o.IgnoreRouteNamespaces, "svcapi-ignore-route-namespaces", false, "Let listeners of networking.x-k8s.io Gateways take Services of every namespace, whatever routes.namespaces says, as AKO does.")
	flag.BoolVar(&o.TakeUnnamed, "svcapi-take-unnamed-services", false, "Let listeners of networking.x-k8s.io Gateways take Services of other namespaces that selector and routes.namespaces admit also if these don't name the Gateway by label.")
	flag.Func("gateway-controller-name", "A further controllerName of GatewayClasses of gateway.networking.k8s.io to serve, besides ako.vmware.com/avi-l4; may be given several times.", func(name string) error {
		o.ControllerNames = append(o.ControllerNames, name)
		return nil
	})
	flag.BoolVar(&o.DryRun, "dry-run", false, "Print what would change on the Controller and change nothing.")
	flag.BoolVar(&o.preview, "preview", false, "Print what would change on the Controller, what would be held and why, and exit: 0 if nothing would change, 2 if something would. Nothing is written anywhere.")
	flag.BoolVar(&o.handBack, "hand-back", false, "Take finalizers, annotations and conditions off Services and Gateways so that AKO can serve them again, and exit. Nothing is said to the Controller. The operator itself must not run.")
	flag.BoolVar(&o.version, "version", false, "Print the version and exit.")
}

// defineServers adds the flags of what the operator serves, and of how it talks to the API server.
func (o *options) defineServers(flag *flag.FlagSet) {
	flag.StringVar(&o.metricsAddr, "metrics-bind-address", ":8443", "Address of the metrics server; 0 switches it off.")
	flag.BoolVar(&o.metricsSecure, "metrics-secure", true, "Serve metrics over HTTPS to authorized clients only.")
	flag.StringVar(&o.metricsCertPath, "metrics-cert-path", "", "Folder of the metrics server's certificate and key, which are read again when they change; without it the operator signs a certificate of its own at each start.")
	flag.StringVar(&o.metricsCertName, "metrics-cert-name", "tls.crt", "File of the certificate in --metrics-cert-path.")
	flag.StringVar(&o.metricsCertKey, "metrics-cert-key", "tls.key", "File of the key in --metrics-cert-path.")
	flag.StringVar(&o.probeAddr, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 switches them off.")
	flag.StringVar(&o.pprofAddr, "pprof-bind-address", "0", "Address of Go's profiles at /debug/pprof/, to anybody who reaches it: use a loopback address such as 127.0.0.1:6060, and kubectl port-forward. 0 switches them off.")
	flag.StringVar(&o.traceEndpoint, "trace-endpoint", "", "URL of a collector of OpenTelemetry that takes OTLP over gRPC, such as http://collector.observability:4317, to send traces of runs to; https verifies its certificate. Without it there are no traces.")
	flag.Float64Var(&o.traceShare, "trace-share", 0.1, "Part of all runs that --trace-endpoint gets, 0 to 1.")
	flag.Float64Var(&o.kubeQPS, "kube-api-qps", 0, "Requests to the API server per second; 0 leaves it to the API server's priority and fairness.")
	flag.IntVar(&o.kubeBurst, "kube-api-burst", 0, "Requests to the API server that --kube-api-qps lets through at once; 0 is twice the rate.")
}

func main() {
	o, err := parse()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil: // the flag package has said so
		os.Exit(exitFailed)
	}
	if o.version {
		fmt.Fprintln(os.Stdout, program, version.String())
		return
	}
	collectEarly(memlimit.FromCgroup)
	level := zap.NewAtomicLevel()
	logger, err := newLogger(o, level)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
	ctrl.SetLogger(zapr.NewLogger(logger))
	klog.SetLogger(ctrl.Log.WithName("client-go"))
	code, err := run(ctrl.SetupSignalHandler(), o, level)
	if err != nil {
		ctrl.Log.Error(err, "the operator stops")
	}
	os.Exit(code)
}

// collectEarly makes the garbage collector take its time: the operator is idle most of its life, and memory is dearer. The environment
// variables GOGC and GOMEMLIMIT have the last word.
func collectEarly(limit memlimit.Provider) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// Near the limit of the container it collects all the time, before the kernel kills the process. Without a limit there is an error.
	_, _ = memlimit.SetGoMemLimitWithOpts(memlimit.WithProvider(limit))
}

// The codes that the process exits with besides 0.
const (
	exitFailed  = 1
	exitChanges = 2 // of a preview that found something to change
)

func newLogger(o options, level zap.AtomicLevel) (*zap.Logger, error) {
	if o.logLevel != "" {
		parsed, err := zapcore.ParseLevel(o.logLevel)
		if err != nil {
			return nil, fmt.Errorf("flag --zap-log-level: %w", err)
		}
		level.SetLevel(parsed)
	}
	cfg := zap.NewProductionConfig()
	cfg.Level, cfg.Encoding, cfg.DisableStacktrace, cfg.Sampling = level, o.logFormat, true, nil
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	logger, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("flag --zap-encoder: %w", err)
	}
	return logger, nil
}

// run runs the operator, or does what is asked for instead, and returns the code to exit with.
func run(ctx context.Context, o options, level zap.AtomicLevel) (code int, err error) {
	mgr, client, err := assemble(&o, level)
	switch {
	case err != nil:
	case o.preview:
		var changes bool
		if changes, err = controllers.Preview(ctx, mgr, client, o.Options, os.Stdout); changes {
			code = exitChanges
		}
	case o.handBack:
		err = controllers.HandBack(ctx, mgr, client, o.Options, os.Stdout)
	default:
		err = operate(ctx, mgr, client, o)
	}
	if err != nil {
		code = exitFailed
	}
	return code, err
}

// assemble makes a manager and a client of the Controller that do nothing yet.
func assemble(o *options, level zap.AtomicLevel) (ctrl.Manager, *avi.Client, error) {
	if o.Namespace == "" {
		return nil, nil, errors.New("the operator's namespace is unknown: set $POD_NAMESPACE or --namespace")
	}
	ctrl.Log.Info("the operator starts", "version", version.String(), "go", goruntime.Version())
	scheme := runtime.NewScheme()
	utilruntime.Must(controllers.AddToScheme(scheme))
	cfg := ctrl.GetConfigOrDie()
	cfg.UserAgent = fmt.Sprintf("%s/%s (%s/%s)", program, version.String(), goruntime.GOOS, goruntime.GOARCH)
	if o.kubeQPS > 0 {
		cfg.QPS, cfg.Burst = float32(o.kubeQPS), cmp.Or(o.kubeBurst, max(1, int(2*o.kubeQPS)))
	}
	lock, fenced, err := elect(cfg, scheme, *o)
	if err != nil {
		return nil, nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                              scheme,
		Cache:                               controllers.CacheOptions(o.Namespace),
		Metrics:                             metricsOptions(*o),
		PprofBindAddress:                    o.pprofAddr,
		LeaderElection:                      lock != nil,
		LeaderElectionReleaseOnCancel:       true, // nothing is written once the manager has ended
		LeaderElectionResourceLockInterface: lock,
		LeaseDuration:                       &o.lease, RenewDeadline: &o.renew, RetryPeriod: &o.retry,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making the manager: %w", err)
	}
	if o.logLevel == "" {
		o.SetLogLevel = func(text string) {
			if l, err := zapcore.ParseLevel(strings.ToLower(text)); err == nil {
				level.SetLevel(l)
			}
		}
	}
	o.Log, o.Registerer = ctrl.Log, metrics.Registry
	client, err := avi.NewUnconfigured(avi.WithLogger(ctrl.Log.WithName("avi")), avi.WithRegisterer(metrics.Registry),
		avi.WithFence(fenced.Check))
	if err != nil {
		return nil, nil, fmt.Errorf("making the Controller's client: %w", err)
	}
	return mgr, client, nil
}

// elect makes the lock of the leader election, nil if there is none, and the fence that keeps this process from writing, also through
// cfg, while another one may be the leader.
func elect(cfg *rest.Config, scheme *runtime.Scheme, o options) (resourcelock.Interface, *fence.Fence, error) {
	if !o.LeaderElect || o.preview || o.handBack {
		return nil, nil, nil
	}
	fenced := fence.New()
	lock, err := fenced.Lease(rest.CopyConfig(cfg), scheme, cmp.Or(o.leaseNamespace, o.Namespace), o.leaseName, o.renew)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the election of a leader: %w", err)
	}
	cfg.Wrap(fenced.Transport)
	return lock, fenced, nil
}

// operate runs the operator until the context ends.
func operate(ctx context.Context, mgr ctrl.Manager, client *avi.Client, o options) error {
	if o.traceEndpoint != "" {
		stop, err := tracing.Start(ctx, ctrl.Log.WithName("tracing"), o.traceEndpoint, o.traceShare, version.String())
		if err != nil {
			return fmt.Errorf("flag --trace-endpoint: %w", err)
		}
		defer func() {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = stop(last) // what is lost was logged
		}()
	}
	operator, err := controllers.Setup(ctx, mgr, client, o.Options)
	if err != nil {
		return err
	}
	if o.probeAddr != "" && o.probeAddr != "0" {
		server, err := probes.Server(o.probeAddr, operator.Live(), operator.Readiness())
		if err != nil {
			return err
		}
		if err := mgr.Add(server); err != nil {
			return fmt.Errorf("adding the server of the probes: %w", err)
		}
	}
	if o.metricsSecure { // else anybody could read it
		for path, handler := range map[string]http.Handler{controllers.PlanPath: operator.Plans(), controllers.ServersPath: operator.Servers()} {
			if err := mgr.AddMetricsServerExtraHandler(path, handler); err != nil {
				return fmt.Errorf("serving %s: %w", path, err)
			}
		}
	}
	return operator.Run(ctx, mgr)
}

func metricsOptions(o options) metricsserver.Options {
	m := metricsserver.Options{BindAddress: o.metricsAddr, SecureServing: o.metricsSecure,
		CertDir: o.metricsCertPath, CertName: o.metricsCertName, KeyName: o.metricsCertKey}
	if o.metricsSecure {
		m.FilterProvider = metricsfilter.New
	}
	return m
}
