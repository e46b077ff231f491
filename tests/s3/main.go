// Serves the buckets of a folder as S3, with versitygw: it checks signatures and checksums as S3 does.
//
//	s3-server <folder> <host:port> [<certificate> <key>]
//
// Buckets are in the path, or before the host s3.test. The root account is AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY. Ends on SIGTERM and SIGINT.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func run(folder string, config *embedgw.Config) error {
	root := filepath.Join(folder, "buckets")
	facts := filepath.Join(folder, "facts")
	for _, each := range []string{root, facts} {
		if err := os.MkdirAll(each, 0o755); err != nil {
			return err
		}
	}
	// Beside the objects and not in extended attributes, which not every file system has.
	storer, err := meta.NewSideCar(facts)
	if err != nil {
		return err
	}
	store, err := posix.New(root, storer, posix.PosixOpts{SideCarDir: facts})
	if err != nil {
		return err
	}
	ending, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return embedgw.RunVersityGW(ending, store, config)
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: s3-server FOLDER HOST:PORT [CERTIFICATE KEY]")
		os.Exit(2)
	}
	config := &embedgw.Config{
		RootUserAccess:    os.Getenv("AWS_ACCESS_KEY_ID"),
		RootUserSecret:    os.Getenv("AWS_SECRET_ACCESS_KEY"),
		Ports:             []string{os.Args[2]},
		MaxConnections:    1000,
		MaxRequests:       1000,
		MultipartMaxParts: 10000,
		VirtualDomain:     "s3.test",
		HealthPath:        "/health",
		KeepAlive:         true,
		Quiet:             true,
	}
	if len(os.Args) == 5 {
		config.CertFile, config.KeyFile = os.Args[3], os.Args[4]
	}
	if err := run(os.Args[1], config); err != nil {
		fmt.Fprintln(os.Stderr, "s3-server:", err)
		os.Exit(1)
	}
}
