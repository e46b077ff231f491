// The peer client-go in the benchmarks of the Kubernetes module: does what a line of its standard
// input says, with client-go as its users know it, and answers by a line of JSON. All peers speak the
// same lines (see kubernetes.compare.py):
//
//	list NS                    all pods of a namespace, decoded: {"seconds", "decode", "cpu", "items"}
//	create NS PREFIX N WORKERS N ConfigMaps: {"seconds"}
//	informer NS                a cache of the pods: {"seconds", "items"}; it stays
//	watch NS N                 an informer of ConfigMaps: {"ready"}, and after N additions {"latencies"}
//	emit NS PREFIX N MICROS    N ConfigMaps that say when they were sent, one each MICROS: {"seconds"}
//	seed NS FROM TO WORKERS    pods as a kubelet leaves them: {"seconds"}
//
// With -first NS it prints the name of the first pod it gets instead, and ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "client-go:", err)
		os.Exit(1)
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

var ctx = context.Background()

type answer map[string]any

func list(client kubernetes.Interface, ns string) answer {
	start, cpu := time.Now(), cpuSeconds()
	result := client.CoreV1().RESTClient().Get().Namespace(ns).Resource("pods").
		VersionedParams(&metav1.ListOptions{}, scheme.ParameterCodec).Do(ctx)
	must(result.Error())
	got := time.Now()
	var pods corev1.PodList
	must(result.Into(&pods))
	return answer{"seconds": time.Since(start).Seconds(), "decode": time.Since(got).Seconds(),
		"cpu": cpuSeconds() - cpu, "items": len(pods.Items)}
}

func parallel(from, to, workers int, do func(int)) time.Duration {
	numbers := make(chan int)
	var group sync.WaitGroup
	start := time.Now()
	for range workers {
		group.Go(func() {
			for each := range numbers {
				do(each)
			}
		})
	}
	for each := from; each < to; each++ {
		numbers <- each
	}
	close(numbers)
	group.Wait()
	return time.Since(start)
}

func create(client kubernetes.Interface, ns, prefix string, count, workers int) answer {
	cpu := cpuSeconds()
	took := parallel(0, count, workers, func(each int) {
		_, err := client.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", prefix, each)},
			Data:       map[string]string{"key": "value"},
		}, metav1.CreateOptions{})
		must(err)
	})
	return answer{"seconds": took.Seconds(), "cpu": cpuSeconds() - cpu}
}

var kept []informers.SharedInformerFactory // so that the caches live as long as the process

func informer(client kubernetes.Interface, ns string) answer {
	start, cpu := time.Now(), cpuSeconds()
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
	pods := factory.Core().V1().Pods().Informer()
	factory.Start(ctx.Done())
	for !pods.HasSynced() { // WaitForCacheSync would look every 100 ms only
		time.Sleep(time.Millisecond)
	}
	kept = append(kept, factory)
	return answer{"seconds": time.Since(start).Seconds(), "cpu": cpuSeconds() - cpu, "items": len(pods.GetStore().ListKeys())}
}

func watch(client kubernetes.Interface, ns string, count int) answer {
	stop := make(chan struct{})
	defer close(stop)
	latencies := make(chan int64, count)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
	maps := factory.Core().V1().ConfigMaps().Informer()
	_, err := maps.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		now := time.Now().UnixNano()
		if sent, err := strconv.ParseInt(object.(*corev1.ConfigMap).Data["sent"], 10, 64); err == nil {
			latencies <- now - sent
		}
	}})
	must(err)
	factory.Start(stop)
	cache.WaitForCacheSync(stop, maps.HasSynced)
	say(answer{"ready": true})
	var all []float64
	for range count {
		all = append(all, float64(<-latencies)/1e9)
	}
	return answer{"latencies": all}
}

func emit(client kubernetes.Interface, ns, prefix string, count, micros int) answer {
	start := time.Now()
	for each := range count {
		time.Sleep(time.Until(start.Add(time.Duration(each*micros) * time.Microsecond)))
		_, err := client.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", prefix, each)},
			Data:       map[string]string{"sent": strconv.FormatInt(time.Now().UnixNano(), 10)},
		}, metav1.CreateOptions{})
		must(err)
	}
	return answer{"seconds": time.Since(start).Seconds()}
}

func say(what answer) {
	line, err := json.Marshal(what)
	must(err)
	fmt.Println(string(line))
}

// A pod of a training job on a node, the size of what one sees in practice.
func pod(ns string, number int) *corev1.Pod {
	quantity := resource.MustParse
	never := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("trainer-%06d", number), Namespace: ns,
			Labels: map[string]string{
				"app.kubernetes.io/name": "trainer", "app.kubernetes.io/instance": fmt.Sprintf("run-%d", number/8),
				"batch.kubernetes.io/job-name": fmt.Sprintf("run-%d", number/8), "mizzen.test/shard": strconv.Itoa(number % 8),
			},
			Annotations: map[string]string{
				"batch.kubernetes.io/job-completion-index": strconv.Itoa(number % 8),
				"mizzen.test/checkpoint":                   fmt.Sprintf("s3://models/run-%d/checkpoints/latest", number/8),
			},
		},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprintf("node-%d", number%500), RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &never,
			NodeSelector: map[string]string{"mizzen.test/accelerator": "gpu"},
			Containers: []corev1.Container{{
				Name: "trainer", Image: "registry.example.com/team/trainer:2026.11.1",
				Command: []string{"/opt/trainer/train"},
				Args:    []string{"--epochs=30", "--batch-size=256", "--learning-rate=0.001", fmt.Sprintf("--shard=%d", number%8)},
				Env: []corev1.EnvVar{
					{Name: "WORLD_SIZE", Value: "8"}, {Name: "RANK", Value: strconv.Itoa(number % 8)},
					{Name: "MASTER_ADDR", Value: fmt.Sprintf("run-%d-0.run", number/8)}, {Name: "MASTER_PORT", Value: "29500"},
					{Name: "NODE_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
				},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": quantity("4"), "memory": quantity("32Gi"), "nvidia.com/gpu": quantity("1")},
					Limits:   corev1.ResourceList{"memory": quantity("64Gi"), "nvidia.com/gpu": quantity("1")},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data", ReadOnly: true}, {Name: "shm", MountPath: "/dev/shm"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "imagenet", ReadOnly: true}}},
				{Name: "shm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
			},
		},
	}
}

func running(p *corev1.Pod, number int) {
	now := metav1.Now()
	yes := true
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now, QOSClass: corev1.PodQOSBurstable,
		HostIP: fmt.Sprintf("198.18.%d.%d", number%500/250, number%250), PodIP: fmt.Sprintf("198.19.%d.%d", number/250%250, number%250),
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "trainer", Image: "registry.example.com/team/trainer:2026.11.1", Ready: true, Started: &yes,
			ImageID:     "registry.example.com/team/trainer@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
			ContainerID: fmt.Sprintf("containerd://%064x", number),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		}},
	}
	p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
	for _, kind := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
}

func seed(client kubernetes.Interface, ns string, from, to, workers int) answer {
	took := parallel(from, to, workers, func(each int) {
		made, err := client.CoreV1().Pods(ns).Create(ctx, pod(ns, each), metav1.CreateOptions{})
		must(err)
		running(made, each)
		_, err = client.CoreV1().Pods(ns).UpdateStatus(ctx, made, metav1.UpdateOptions{})
		must(err)
	})
	return answer{"seconds": took.Seconds()}
}

func main() {
	encoding := flag.String("encoding", "json", "json or protobuf")
	gzip := flag.Bool("gzip", false, "ask for compressed answers")
	first := flag.String("first", "", "print the first pod of this namespace, and end")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	must(err)
	config.QPS = -1 // no limit of its own
	config.DisableCompression = !*gzip
	// Said in both cases: what is left out is protobuf for some calls and JSON for others.
	config.ContentType = "application/json"
	config.AcceptContentTypes = "application/json"
	if *encoding == "protobuf" {
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	client, err := kubernetes.NewForConfig(rest.CopyConfig(config))
	must(err)
	if *first != "" {
		pods, err := client.CoreV1().Pods(*first).List(ctx, metav1.ListOptions{Limit: 1})
		must(err)
		fmt.Println(pods.Items[0].Name)
		return
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		number := func(index int) int {
			value, err := strconv.Atoi(words[index])
			must(err)
			return value
		}
		switch words[0] {
		case "list":
			say(list(client, words[1]))
		case "create":
			say(create(client, words[1], words[2], number(3), number(4)))
		case "informer":
			say(informer(client, words[1]))
		case "watch":
			say(watch(client, words[1], number(2)))
		case "emit":
			say(emit(client, words[1], words[2], number(3), number(4)))
		case "seed":
			say(seed(client, words[1], number(2), number(3), number(4)))
		default:
			must(fmt.Errorf("no such command: %s", words[0]))
		}
	}
}
