// fault-proxy stands between a client and an API server, ends the client's TLS, and does to requests
// what a real server cannot be made to do. One HTTP/1.1 request at a time per connection, WebSockets
// included. It is a proxy for CONNECT, too, reached by TLS.
//
//	fault-proxy -upstream https://… -ca FILE [-cert FILE -key FILE]
//
// It prints its port, then reads commands from its standard input, one JSON object per line, and
// answers each by one line; it ends at the end of its input. The commands are those of `command`.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A command: one of its members is set.
type command struct {
	Add    *fault `json:"add"`    // the next requests that match fail like this; the first that matches counts
	Clear  bool   `json:"clear"`  // forget all faults
	State  bool   `json:"state"`  // answer with `state`
	Cut    string `json:"cut"`    // end all connections now, in this way (see fault.End)
	Freeze *bool  `json:"freeze"` // all connections, new ones too, stay open but nothing moves; or go on
}

type fault struct {
	// Which requests: an empty method is any; the target (path and query) is a regular expression.
	Method string `json:"method"`
	Target string `json:"target"`
	Skip   int    `json:"skip"`  // let so many pass first
	Times  int    `json:"times"` // then act on so many; negative: on all

	DelayMS int `json:"delay_ms"` // before anything else

	// Answer this, without asking the server. 0: ask the server.
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"` // default: a Status object for the status

	// With an answer of the server: let so much of it pass, then send `inject` and do as `end` says;
	// with neither, do as `end` says after the whole answer. Events are lines, as in a watch.
	AfterBytes  *int64 `json:"after_bytes"`
	AfterEvents *int64 `json:"after_events"`
	Inject      string `json:"inject"`

	// finish     (default) let the rest pass
	// complete   end the body in good order, keep the connection
	// close      end the connection (FIN)
	// reset      end it by a reset
	// no_notify  end it without TLS's close_notify
	// half_open  send nothing more, keep the connection
	// truncated_chunk  announce a chunk, send half of it, end the connection
	// bad_chunk  send what is no chunk
	End string `json:"end"`

	// before_response  carry the request out, then act as `end` says without a byte of the answer
	// early            as `end` says after the header of the request was read, without its body; with
	//                  a `status`, after that has been answered
	When string `json:"when"`

	// Not asked of the server when a WebSocket is opened: a Sec-WebSocket-Protocol that it then seems
	// not to know.
	WithoutProtocol string `json:"without_protocol"`

	pattern *regexp.Regexp
}

type seen struct {
	Method        string `json:"method"`
	Target        string `json:"target"`
	Authorization string `json:"authorization"`
	Status        int    `json:"status"` // what the client was told; 0: nothing yet
}

type state struct {
	Open     int    `json:"open"`     // connections now
	Accepted int    `json:"accepted"` // so far
	Requests []seen `json:"requests"`
}

type proxy struct {
	upstream  *url.URL
	transport *http.Transport

	mutex    sync.Mutex
	thawed   *sync.Cond
	frozen   bool
	faults   []*fault
	state    state
	sessions map[*session]bool
}

// A connection of a client.
type session struct {
	proxy  *proxy
	conn   *tls.Conn
	raw    *net.TCPConn
	reader *bufio.Reader
	gone   chan struct{} // closed when the connection is
	once   sync.Once
}

var errEnd = errors.New("the connection is to end")

func (s *session) end(how string) {
	s.once.Do(func() {
		switch how {
		case "reset":
			_ = s.raw.SetLinger(0)
			_ = s.raw.Close()
		case "no_notify":
			_ = s.raw.Close()
		default:
			_ = s.conn.SetDeadline(time.Now().Add(5 * time.Second))
			_ = s.conn.Close()
		}
		close(s.gone)
		s.proxy.mutex.Lock()
		delete(s.proxy.sessions, s)
		s.proxy.state.Open--
		s.proxy.thawed.Broadcast()
		s.proxy.mutex.Unlock()
	})
}

// awaitThaw waits while the proxy is frozen; false once the connection has ended.
func (s *session) awaitThaw() bool {
	p := s.proxy
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for p.frozen && p.sessions[s] {
		p.thawed.Wait()
	}
	return p.sessions[s]
}

func (s *session) write(data []byte) error {
	if !s.awaitThaw() {
		return errEnd
	}
	_, err := s.conn.Write(data)
	return err
}

// halfOpen keeps the connection and neither reads nor writes until somebody ends it.
func (s *session) halfOpen() error {
	buffer := make([]byte, 1)
	for {
		// Only to notice the client's end.
		if _, err := s.raw.Read(buffer); err != nil {
			return errEnd
		}
	}
}

func (s *session) finish(how string) error {
	if how == "half_open" {
		return s.halfOpen()
	}
	s.end(how)
	return errEnd
}

func (p *proxy) serve(raw *net.TCPConn, config *tls.Config) {
	conn := tls.Server(raw, config)
	s := &session{proxy: p, conn: conn, raw: raw, reader: bufio.NewReader(conn), gone: make(chan struct{})}
	p.mutex.Lock()
	p.sessions[s] = true
	p.state.Open++
	p.state.Accepted++
	p.mutex.Unlock()
	defer s.end("close")
	if !s.awaitThaw() {
		return
	}
	for {
		request, err := http.ReadRequest(s.reader)
		if err != nil || !s.awaitThaw() {
			return
		}
		if err := s.handle(request); err != nil {
			return
		}
	}
}

// match finds the fault for a request, counting it.
func (p *proxy) match(request *http.Request) (*fault, int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	authorization := request.Header.Get("Authorization")
	if request.Method == http.MethodConnect {
		authorization = request.Header.Get("Proxy-Authorization")
	}
	p.state.Requests = append(p.state.Requests, seen{
		Method: request.Method, Target: request.RequestURI, Authorization: authorization,
	})
	index := len(p.state.Requests) - 1
	for _, each := range p.faults {
		if each.Method != "" && each.Method != request.Method || !each.pattern.MatchString(request.RequestURI) {
			continue
		}
		if each.Skip > 0 {
			each.Skip--
			continue
		}
		if each.Times != 0 {
			each.Times--
			return each, index
		}
	}
	return &fault{}, index
}

func (s *session) told(index, status int) {
	s.proxy.mutex.Lock()
	s.proxy.state.Requests[index].Status = status
	s.proxy.mutex.Unlock()
}

func (s *session) handle(request *http.Request) error {
	f, index := s.proxy.match(request)
	if f.When == "early" {
		if f.Status != 0 {
			s.told(index, f.Status)
			if err := s.answer(f); err != nil {
				return err
			}
		}
		return s.finish(f.End)
	}
	if f.DelayMS > 0 {
		select {
		case <-time.After(time.Duration(f.DelayMS) * time.Millisecond):
		case <-s.gone:
			return errEnd
		}
	}
	if f.Status != 0 {
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return err
		}
		s.told(index, f.Status)
		return s.answer(f)
	}
	if request.Method == http.MethodConnect {
		return s.connect(request, f, index)
	}
	if strings.EqualFold(request.Header.Get("Upgrade"), "websocket") || strings.HasPrefix(request.Header.Get("Upgrade"), "SPDY") {
		return s.tunnel(request, f, index)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Whoever has gone away gets no answer, and the server must learn of it. The client sends nothing
	// before it has its answer, so a byte is kept for the next request.
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if _, err := s.reader.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			s.end("close")
		}
	}()
	go func() {
		select {
		case <-s.gone:
			cancel()
		case <-ctx.Done():
		}
	}()

	outgoing := request.Clone(ctx)
	outgoing.RequestURI = ""
	outgoing.URL.Scheme, outgoing.URL.Host = s.proxy.upstream.Scheme, s.proxy.upstream.Host
	outgoing.Host = s.proxy.upstream.Host
	outgoing.Body = io.NopCloser(bytes.NewReader(body))
	outgoing.ContentLength = int64(len(body))
	outgoing.TransferEncoding = nil
	response, err := s.proxy.transport.RoundTrip(outgoing)
	if err == nil && f.When == "before_response" {
		response.Body.Close()
		return s.finish(f.End)
	}
	if err != nil {
		// No server there: the client sees what it would see without a proxy.
		return s.finish("reset")
	}
	s.told(index, response.StatusCode)
	err = s.forward(response, request.Method == http.MethodHead, f)
	response.Body.Close()
	if err != nil {
		return err
	}
	// The goroutine that peeks must not read while the next request is read.
	_ = s.conn.SetReadDeadline(time.Now())
	<-watched
	_ = s.conn.SetReadDeadline(time.Time{})
	select {
	case <-s.gone:
		return errEnd
	default:
		// A deadline that has passed leaves its error in the reader; what it holds is kept.
		rest, _ := s.reader.Peek(s.reader.Buffered())
		s.reader = bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(rest)), s.conn))
		return nil
	}
}

func writeHeader(out *bytes.Buffer, status int, header http.Header) {
	fmt.Fprintf(out, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = header.Write(out)
	out.WriteString("\r\n")
}

var reasons = map[int]string{
	400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
	429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}

func (s *session) answer(f *fault) error {
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	for name, value := range f.Headers {
		header.Set(name, value)
	}
	var body string
	if f.Body != nil {
		body = *f.Body
	} else {
		details := ""
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
			details = fmt.Sprintf(`,"details":{"retryAfterSeconds":%d}`, seconds)
		}
		body = fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"from the fault proxy","reason":%q,"code":%d%s}`,
			reasons[f.Status], f.Status, details)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	var out bytes.Buffer
	writeHeader(&out, f.Status, header)
	out.WriteString(body)
	data := out.Bytes()
	if f.AfterBytes != nil && *f.AfterBytes < int64(len(body)) {
		data = data[:int64(len(data)-len(body))+*f.AfterBytes]
	}
	if err := s.write(data); err != nil {
		return err
	}
	if f.End == "" || f.End == "finish" || f.End == "complete" {
		return nil
	}
	return s.finish(f.End)
}

// A meter says how much of a piece of the answer may still pass.
type meter struct{ bytes, events *int64 }

func (f *fault) meter() meter {
	var m meter
	if f.AfterBytes != nil {
		m.bytes = new(int64)
		*m.bytes = *f.AfterBytes
	}
	if f.AfterEvents != nil {
		m.events = new(int64)
		*m.events = *f.AfterEvents
	}
	return m
}

// take gives the part of the data that may pass, and whether that was all there is to pass.
func (m *meter) take(data []byte) ([]byte, bool) {
	if m.bytes != nil {
		if int64(len(data)) >= *m.bytes {
			return data[:*m.bytes], true
		}
		*m.bytes -= int64(len(data))
	}
	if m.events != nil {
		for at, each := range data {
			if each != '\n' {
				continue
			}
			if *m.events--; *m.events <= 0 {
				return data[:at+1], true
			}
		}
	}
	return data, false
}

func (m *meter) now() bool {
	return m.bytes != nil && *m.bytes == 0 || m.events != nil && *m.events == 0
}

func (s *session) forward(response *http.Response, head bool, f *fault) error {
	header := response.Header.Clone()
	header.Del("Connection")
	chunked := response.ContentLength < 0
	acts := f.AfterBytes != nil || f.AfterEvents != nil
	if f.Inject != "" {
		chunked = true
	}
	header.Del("Content-Length")
	header.Del("Transfer-Encoding")
	if head || response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified {
		chunked = false
	} else if chunked {
		header.Set("Transfer-Encoding", "chunked")
	} else {
		header.Set("Content-Length", strconv.FormatInt(response.ContentLength, 10))
	}
	var out bytes.Buffer
	writeHeader(&out, response.StatusCode, header)
	if err := s.write(out.Bytes()); err != nil {
		return err
	}
	send := func(data []byte) error {
		if len(data) == 0 {
			return nil
		}
		if chunked {
			data = []byte(fmt.Sprintf("%x\r\n%s\r\n", len(data), data))
		}
		return s.write(data)
	}
	done := func() error {
		if chunked {
			return s.write([]byte("0\r\n\r\n"))
		}
		return nil
	}
	// act does what the fault says at its point; true when the answer goes on.
	act := func() (bool, error) {
		if err := send([]byte(f.Inject)); err != nil {
			return false, err
		}
		switch f.End {
		case "", "finish":
			return true, nil
		case "complete":
			return false, done()
		case "truncated_chunk":
			if err := s.write([]byte("1000\r\n{\"type\":\"ADD")); err != nil {
				return false, err
			}
			return false, s.finish("close")
		case "bad_chunk":
			if err := s.write([]byte("zz\r\nthis is no chunk\r\n")); err != nil {
				return false, err
			}
			return false, s.finish("close")
		}
		return false, s.finish(f.End)
	}

	limits := f.meter()
	if acts && limits.now() {
		if more, err := act(); !more {
			return err
		}
		acts = false
	}
	buffer := make([]byte, 64<<10)
	for {
		count, err := response.Body.Read(buffer)
		data := buffer[:count]
		for acts && len(data) > 0 {
			part, reached := limits.take(data)
			if sendErr := send(part); sendErr != nil {
				return sendErr
			}
			data = data[len(part):]
			if !reached {
				break
			}
			acts = false
			if more, actErr := act(); !more {
				return actErr
			}
		}
		if sendErr := send(data); sendErr != nil {
			return sendErr
		}
		if err == io.EOF {
			if err := done(); err != nil || f.AfterBytes != nil || f.AfterEvents != nil {
				return err
			}
			switch f.End {
			case "close", "reset", "no_notify", "half_open":
				return s.finish(f.End)
			}
			return nil
		}
		if err != nil {
			return s.finish("reset")
		}
	}
}

// tunnel opens an upgraded connection; faults count the server's bytes after its header.
func (s *session) tunnel(request *http.Request, f *fault, index int) error {
	config := s.proxy.transport.TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	var server net.Conn
	var err error
	if s.proxy.upstream.Scheme == "https" {
		server, err = tls.Dial("tcp", s.proxy.upstream.Host, config)
	} else {
		server, err = net.Dial("tcp", s.proxy.upstream.Host)
	}
	if err != nil {
		return s.finish("reset")
	}
	defer server.Close()
	if f.WithoutProtocol != "" {
		var rest []string
		for _, each := range strings.Split(strings.Join(request.Header.Values("Sec-WebSocket-Protocol"), ","), ",") {
			if each = strings.TrimSpace(each); each != f.WithoutProtocol {
				rest = append(rest, each)
			}
		}
		request.Header.Set("Sec-WebSocket-Protocol", strings.Join(rest, ", "))
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\n", request.Method, request.RequestURI, s.proxy.upstream.Host)
	_ = request.Header.Write(&out)
	out.WriteString("\r\n")
	if _, err := server.Write(out.Bytes()); err != nil {
		return s.finish("reset")
	}
	fromServer := bufio.NewReader(server)
	response, err := http.ReadResponse(fromServer, request)
	if err != nil {
		return s.finish("reset")
	}
	s.told(index, response.StatusCode)
	if f.When == "before_response" {
		return s.finish(f.End)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return s.forward(response, false, f)
	}
	out.Reset()
	writeHeader(&out, response.StatusCode, response.Header)
	if err := s.write(out.Bytes()); err != nil {
		return err
	}
	return s.pump(server, fromServer, f)
}

// connect opens the way to where a client of the proxy wants to go.
func (s *session) connect(request *http.Request, f *fault, index int) error {
	server, err := net.Dial("tcp", request.Host)
	if err != nil {
		s.told(index, http.StatusBadGateway)
		return s.answer(&fault{Status: http.StatusBadGateway})
	}
	defer server.Close()
	s.told(index, http.StatusOK)
	var out bytes.Buffer
	writeHeader(&out, http.StatusOK, nil)
	if err := s.write(out.Bytes()); err != nil {
		return err
	}
	return s.pump(server, server, f)
}

// pump passes bytes both ways until one side ends, or as the fault says.
func (s *session) pump(server net.Conn, fromServer io.Reader, f *fault) error {
	go func() { // from the client
		buffer := make([]byte, 32<<10)
		for {
			count, err := s.reader.Read(buffer)
			if err != nil || !s.awaitThaw() {
				server.Close()
				return
			}
			if _, err := server.Write(buffer[:count]); err != nil {
				return
			}
		}
	}()
	limits := f.meter()
	acts := f.AfterBytes != nil
	buffer := make([]byte, 32<<10)
	for {
		count, err := fromServer.Read(buffer)
		data, reached := buffer[:count], false
		if acts {
			data, reached = limits.take(data)
		}
		if writeErr := s.write(data); writeErr != nil {
			return writeErr
		}
		if reached {
			_ = s.write([]byte(f.Inject))
			return s.finish(f.End)
		}
		if err != nil {
			return s.finish("close")
		}
	}
}

func (p *proxy) do(line []byte) (any, error) {
	var c command
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch {
	case c.Add != nil:
		pattern, err := regexp.Compile(c.Add.Target)
		if err != nil {
			return nil, err
		}
		c.Add.pattern = pattern
		p.faults = append(p.faults, c.Add)
	case c.Clear:
		p.faults = nil
	case c.State:
		copied := p.state
		copied.Requests = append([]seen{}, p.state.Requests...)
		return copied, nil
	case c.Cut != "":
		for each := range p.sessions {
			go each.end(c.Cut)
		}
	case c.Freeze != nil:
		p.frozen = *c.Freeze
		p.thawed.Broadcast()
	}
	return map[string]bool{"ok": true}, nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault-proxy:", err)
		os.Exit(1)
	}
}

func main() {
	upstream := flag.String("upstream", "", "URL of the API server")
	ca := flag.String("ca", "", "file of the authority that signed the server's certificate")
	cert := flag.String("cert", "", "file of the proxy's own certificate")
	key := flag.String("key", "", "file of its key")
	flag.Parse()
	target, err := url.Parse(*upstream)
	fail(err)
	authorities := x509.NewCertPool()
	text, err := os.ReadFile(*ca)
	fail(err)
	authorities.AppendCertsFromPEM(text)
	own, err := tls.LoadX509KeyPair(*cert, *key)
	fail(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	p := &proxy{
		upstream: target,
		transport: &http.Transport{
			TLSClientConfig:    &tls.Config{RootCAs: authorities},
			DisableCompression: true, // bytes pass as they are
			DisableKeepAlives:  true, // the server's connections end with the client's request
		},
		sessions: map[*session]bool{},
	}
	p.thawed = sync.NewCond(&p.mutex)
	config := &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"}}
	go func() {
		for {
			conn, err := listener.Accept()
			fail(err)
			go p.serve(conn.(*net.TCPConn), config)
		}
	}()

	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 16<<20)
	for input.Scan() {
		answer, err := p.do(input.Bytes())
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		line, _ := json.Marshal(answer)
		fmt.Println(string(line))
	}
}
