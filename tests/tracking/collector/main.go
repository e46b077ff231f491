// The OTLP receiver of the OpenTelemetry Collector, which appends what it is sent to a file: each
// export as a line of OTLP/JSON, as the Collector's file exporter writes it.
//
//	collector ADDRESS FILE
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	metric "go.opentelemetry.io/otel/metric/noop"
	trace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }
func (host) Report(event *componentstatus.Event) {
	if event.Err() != nil {
		fail(event.Err())
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "collector:", err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: collector ADDRESS FILE")
		os.Exit(2)
	}
	file, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		fail(err)
	}
	var writing sync.Mutex
	lines := pmetric.JSONMarshaler{}
	next, err := consumer.NewMetrics(func(_ context.Context, data pmetric.Metrics) error {
		line, err := lines.MarshalMetrics(data)
		if err != nil {
			return err
		}
		writing.Lock()
		defer writing.Unlock()
		_, err = file.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		fail(err)
	}

	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	chosen := confmap.NewFromStringMap(map[string]any{
		"protocols": map[string]any{"http": map[string]any{"endpoint": os.Args[1]}},
	})
	if err := chosen.Unmarshal(config); err != nil {
		fail(err)
	}
	settings := receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger:         zap.NewNop(),
			TracerProvider: trace.NewTracerProvider(),
			MeterProvider:  metric.NewMeterProvider(),
			Resource:       pcommon.NewResource(),
		},
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	made, err := factory.CreateMetrics(ctx, settings, config, next)
	if err != nil {
		fail(err)
	}
	if err := made.Start(ctx, host{}); err != nil {
		fail(err)
	}
	fmt.Println("ready")
	<-ctx.Done()
	if err := made.Shutdown(context.Background()); err != nil {
		fail(err)
	}
}
