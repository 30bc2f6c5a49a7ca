package main

import (
	"encoding/json"
	"net/http"
	"time"
)

// events writes server-sent events. The header goes out with the first one, so that an error before it still has its own status.
type events struct {
	x          *exchange
	connection *http.ResponseController
}

func newEvents(x *exchange) *events { return &events{x, http.NewResponseController(x)} }

// send writes a value as one event and flushes it.
func (e *events) send(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return e.write(text)
}

// done writes the event that ends a stream of OpenAI's.
func (e *events) done() error { return e.write([]byte("[DONE]")) }

// fail writes an error into a stream that has begun, where its client finds it as OpenAI's clients expect. The stream has no end then.
func (e *events) fail(err *apiError) error {
	if e.x.status == 0 || err.status == statusClientClosed {
		return err
	}
	_ = e.send(err)
	return err
}

func (e *events) write(data []byte) error {
	if e.x.status == 0 {
		header := e.x.Header()
		header.Set("Content-Type", "text/event-stream; charset=utf-8")
		header.Set("Cache-Control", "no-cache")
		// Proxies that buffer would hold the events back.
		header.Set("X-Accel-Buffering", "no")
		e.x.WriteHeader(http.StatusOK)
	}
	_ = e.connection.SetWriteDeadline(time.Now().Add(writeTimeout))
	event := make([]byte, 0, len(data)+8)
	event = append(event, "data: "...)
	event = append(event, data...)
	_, err := e.x.Write(append(event, "\n\n"...))
	if err == nil {
		err = e.connection.Flush()
	}
	if err != nil {
		return &apiError{status: statusClientClosed, kind: "server_error", message: "the client did not take the answer", cause: err}
	}
	return nil
}
