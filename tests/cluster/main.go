// mizzen-cluster is a Kubernetes control plane and its tools in one program: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet, kubectl and kwok. Which of them it is, its name
// tells (argv[0], through the links of build.sh) or its first argument.
//
// One program, since the parts share most of their code: seven would take several times the time to
// link, and the room.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	kwoknode "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	kwokheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	kwokpod "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	kwoksignals "sigs.k8s.io/kwok/pkg/utils/signals"

	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

func cobraMain(command *cobra.Command) { os.Exit(cli.Run(command)) }

var parts = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { cobraMain(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { cobraMain(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() { cobraMain(scheduler.NewSchedulerCommand()) },
	"kubelet":                 func() { cobraMain(kubelet.NewKubeletCommand(context.Background())) },
	"kubectl":                 kubectlMain,
	"kwok":                    kwokMain,
	"kwok-stages":             kwokStages,
}

func main() {
	name := filepath.Base(os.Args[0])
	if parts[name] == nil && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	part := parts[name]
	if part == nil {
		fmt.Fprintln(os.Stderr, "usage: mizzen-cluster PART [ARG ...], PART being one of:",
			strings.Join(slices.Sorted(maps.Keys(parts)), " "))
		os.Exit(2)
	}
	part()
}

func kubectlMain() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

// kwok exports its command, but not what its own main does about global flags.
func kwokMain() {
	// Kubernetes' packages have registered global flags, a --version of another type among them, that
	// would clash with kwok's.
	pflag.CommandLine = pflag.NewFlagSet("kwok", pflag.ExitOnError)
	global := pflag.NewFlagSet("global", pflag.ContinueOnError)
	global.ParseErrorsAllowlist.UnknownFlags = true
	global.Usage = func() {}
	ctx, logger := kwoklog.InitFlags(kwoksignals.SetupSignalContext(), global)
	ctx, err := kwokconfig.InitFlags(ctx, global)
	if err == nil {
		command := kwok.NewCommand(ctx)
		command.PersistentFlags().AddFlagSet(global)
		err = command.ExecuteContext(ctx)
	}
	if err != nil {
		logger.Error("kwok", err)
		os.Exit(1)
	}
}

// kwokStages prints how kwok's nodes become ready and stay so, and how its pods are deleted, as a
// part of the file that `kwok --config` reads. What pods do while they live is in stages.yaml.
func kwokStages() {
	fmt.Println(strings.Join([]string{
		kwoknode.DefaultNodeInit,
		kwokheartbeat.DefaultNodeHeartbeatWithLease,
		kwokpod.DefaultPodDelete,
	}, "\n---\n"))
}
