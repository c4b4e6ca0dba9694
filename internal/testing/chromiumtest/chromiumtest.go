// Package chromiumtest opens pages in a real Chromium, without a window, and tells what they did:
// what they said on the console, and what they asked of a network. It speaks the DevTools protocol
// over a websocket. Only tests import it.
package chromiumtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// A Browser is a running Chromium with one page.
type Browser struct {
	t    *testing.T
	conn *websocket.Conn

	mutex    sync.Mutex
	next     int
	waiting  map[int]chan reply
	errors   []string // of the console, of exceptions, of the page's policy
	requests []string // addresses other than the page's own
	session  string
	page     string
	loaded   chan struct{}
}

type reply struct {
	ID      int             `json:"id"`
	Method  string          `json:"method"`
	Session string          `json:"sessionId"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Start starts Chromium with an empty profile; it ends with the test. Where there is none the test
// is skipped, or fails if programs are required.
func Start(t *testing.T) *Browser {
	t.Helper()
	size.Need(t, size.All)
	program := tooltest.Need(t, "chromium")
	profile, err := os.MkdirTemp("", "chromium") // not the test's: it is still written while the browser ends
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
		"--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir=" + profile, "about:blank"}
	if os.Getuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...)
	}
	cmd := exec.Command(program, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, waiting: map[int]chan reply{}, loaded: make(chan struct{}, 10)}
	t.Cleanup(func() {
		if b.conn != nil {
			b.conn.Close()
		}
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(profile)
	})
	lines := bufio.NewScanner(stderr)
	address, said := "", ""
	for address == "" && lines.Scan() {
		said += lines.Text() + "\n"
		_, address, _ = strings.Cut(lines.Text(), "DevTools listening on ")
	}
	go func() {
		for lines.Scan() { // or the pipe fills
		}
	}()
	if b.conn, err = websocket.Dial(address, "", "http://127.0.0.1/"); err != nil {
		t.Fatalf("chromium: %v\n%s", err, said)
	}
	go b.read()
	b.attach()
	return b
}

func (b *Browser) attach() {
	b.t.Helper()
	var target struct {
		ID string `json:"targetId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct {
		ID string `json:"sessionId"`
	}
	b.call("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &session)
	b.mutex.Lock()
	b.session = session.ID
	b.mutex.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Audits"} {
		b.call(domain+".enable", nil, nil)
	}
}

func (b *Browser) read() {
	for {
		var r reply
		if websocket.JSON.Receive(b.conn, &r) != nil {
			return
		}
		b.mutex.Lock()
		if answer, ok := b.waiting[r.ID]; ok && r.ID != 0 {
			delete(b.waiting, r.ID)
			answer <- r
		}
		b.event(r)
		b.mutex.Unlock()
	}
}

func (b *Browser) event(r reply) {
	var params struct {
		Type    string
		Args    []struct{ Value any }
		Entry   struct{ Level, Text, URL string }
		Request struct{ URL string }
		Details json.RawMessage `json:"exceptionDetails"`
		Issue   json.RawMessage
	}
	if r.Method == "" || json.Unmarshal(r.Params, &params) != nil {
		return
	}
	switch r.Method {
	case "Page.loadEventFired":
		b.loaded <- struct{}{}
	case "Runtime.consoleAPICalled":
		b.errors = append(b.errors, fmt.Sprintf("console.%s: %v", params.Type, params.Args))
	case "Runtime.exceptionThrown":
		b.errors = append(b.errors, "exception: "+string(params.Details))
	case "Log.entryAdded":
		b.errors = append(b.errors, params.Entry.Level+": "+params.Entry.Text+" "+params.Entry.URL)
	case "Audits.issueAdded":
		if strings.Contains(string(params.Issue), "ContentSecurityPolicy") {
			b.errors = append(b.errors, "issue: "+string(params.Issue))
		}
	case "Network.requestWillBeSent":
		if params.Request.URL != b.page {
			b.requests = append(b.requests, params.Request.URL)
		}
	}
}

// call calls a method of the protocol, and reads its result into to where that is not nil.
func (b *Browser) call(method string, params any, to any) {
	b.t.Helper()
	b.mutex.Lock()
	b.next++
	message := map[string]any{"id": b.next, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	answer := make(chan reply, 1)
	b.waiting[b.next] = answer
	b.mutex.Unlock()
	if err := websocket.JSON.Send(b.conn, message); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if to != nil {
			if err := json.Unmarshal(r.Result, to); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(2 * time.Minute):
		b.t.Fatalf("%s: chromium does not answer", method)
	}
}

// Open opens a file, in a window of a width and height in pixels, dark or light, and waits until it
// is loaded.
func (b *Browser) Open(path string, width, height int, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	address := (&url.URL{Scheme: "file", Path: path}).String()
	b.mutex.Lock()
	b.page, b.errors, b.requests = address, nil, nil
	b.mutex.Unlock()
	b.call("Page.navigate", map[string]any{"url": address}, nil)
	select {
	case <-b.loaded:
	case <-time.After(2 * time.Minute):
		b.t.Fatalf("%s was not loaded", path)
	}
}

// Eval evaluates an expression in the page, waits for it if it is a promise, and returns its value.
func (b *Browser) Eval(expression string) any {
	b.t.Helper()
	var result struct {
		Result    struct{ Value any }
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &result)
	if result.Exception != nil {
		b.t.Fatalf("%s: %s", expression, result.Exception)
	}
	return result.Result.Value
}

// Press presses a key, such as Enter or Tab, as a person does.
func (b *Browser) Press(key string, code int) {
	b.t.Helper()
	event := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
	if key == "Enter" {
		event["text"] = "\r"
	}
	b.call("Input.dispatchKeyEvent", event, nil)
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
}

// Type types text into what has the focus.
func (b *Browser) Type(text string) {
	b.t.Helper()
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// Screenshot writes a picture of the whole page as a PNG file.
func (b *Browser) Screenshot(path string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// Errors are what the page said on the console, and what its policy or the engine has refused.
func (b *Browser) Errors() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]string(nil), b.errors...)
}

// Requests are the addresses, other than its own, that the page has asked for.
func (b *Browser) Requests() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]string(nil), b.requests...)
}
