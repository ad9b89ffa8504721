// Publishes orders, reads them back and talks to an agent, and counts: whatever happens to the connection meanwhile,
// every event has to come exactly once and in order.
//
//	GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… client [ORDERS [ORDERS-OF-ANOTHER-PUBLISHER]]
//
// `client worker` answers for an agent instead: see worker.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"time"

	gatewayv1 "gateway/v1"

	"google.golang.org/grpc"
)

const (
	client   = "go"
	patience = 2 * time.Minute  // for everything
	answered = 30 * time.Second // for one request, however many connections that takes
)

// Verdict is the last line that is printed.
type Verdict struct {
	Client      string   `json:"client"`
	Grpc        string   `json:"grpc"`
	Own         int      `json:"own"`
	Others      int      `json:"others"`
	Faults               // missing, doubled, disordered, damaged
	Partials    int      `json:"partials"`
	Connections int      `json:"connections"`
	Resumed     int      `json:"resumed"`
	Lost        []string `json:"lost"`
	Verdict     string   `json:"verdict"`
}

func main() {
	rand.Seed(time.Now().UnixNano())
	isGood, err := start(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !isGood {
		os.Exit(1)
	}
}

func start(arguments []string) (isGood bool, err error) {
	if len(arguments) > 0 && arguments[0] == "worker" {
		named := []string{"lookup", "worker-go"}
		copy(named, arguments[1:])
		err = work(named[0], named[1])
		return err == nil, err
	}
	own, others, err := counts(arguments)
	if err != nil {
		return false, err
	}
	return run(own, others)
}

func whereabouts() (address, token string, err error) {
	address, token = os.Getenv("GATEWAYD_ADDRESS"), os.Getenv("GATEWAYD_TOKEN")
	if address == "" || token == "" {
		err = errors.New("set GATEWAYD_ADDRESS and GATEWAYD_TOKEN")
	}
	return address, token, err
}

func run(own, others int) (isGood bool, err error) {
	address, token, err := whereabouts()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	connection := NewConnection(address, token, "example-"+client, client+"-example/1")
	over := make(chan struct{})
	go func() {
		defer close(over)
		connection.Run(ctx) // its error is that of whatever the story waits for
	}()
	defer func() { cancel(); <-over }()
	verdict, err := story(ctx, connection, own, others)
	if err != nil {
		return false, err
	}
	say(verdict)
	return verdict.Verdict == "ok", nil
}

func story(ctx context.Context, connection *Connection, own, others int) (*Verdict, error) {
	run := strconv.FormatUint(rand.Uint64(), 16)
	tally := NewTally()

	filter := &gatewayv1.EventFilter{Types: []gatewayv1.EventType{gatewayv1.EventType_EVENT_TYPE_CUSTOM}, Topic: "examples." + client + ".*"}
	if err := connection.Subscribe(ctx, "orders", filter, tally.Take); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	say(map[string]string{"step": "subscribed"})

	events := make([]*gatewayv1.Event, own)
	for i := range events {
		events[i] = order(client, run, i+1)
	}
	cursor, err := publish(ctx, connection, events) // taken as a whole or not at all
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, connection, tally.Reached(client, own)); err != nil {
		return nil, fmt.Errorf("own orders: %w", err)
	}
	say(map[string]string{"step": "published", "cursor": cursor})

	partials := 0
	asking, cancel := context.WithTimeout(ctx, answered)
	defer cancel()
	reply, err := connection.Send(asking, &gatewayv1.Send{
		Agent: "assistant", Text: "What can you do?", IdempotencyKey: client + "-" + run,
	}, func(*gatewayv1.Reply) { partials++ })
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	whole, err := connection.Send(asking, &gatewayv1.Send{
		Agent: "assistant", Text: "And what else?", IdempotencyKey: client + "-" + run + "-again",
	}, nil) // no pieces, only the answer
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	say(map[string]string{"step": "answered", "content": reply.GetContent()})

	if err := wait(ctx, connection, tally.Reached("other", others)); err != nil {
		return nil, fmt.Errorf("orders of the other publisher: %w", err)
	}
	if _, err := publish(ctx, connection, []*gatewayv1.Event{endOf(client, run)}); err != nil {
		return nil, err
	}
	if err := wait(ctx, connection, tally.Ended(run)); err != nil {
		return nil, fmt.Errorf("end: %w", err)
	}

	stats := connection.Stats()
	verdict := &Verdict{
		Client: client, Grpc: grpc.Version, Own: own, Others: others, Partials: partials,
		Faults:      tally.Judge(map[string]int{client: own, "other": others}),
		Connections: stats.Connections, Resumed: stats.Resumed, Lost: stats.Lost, Verdict: "failed",
	}
	if (verdict.Faults == Faults{}) && cursor != "" && partials > 0 && reply.GetContent() != "" && whole.GetContent() != "" {
		verdict.Verdict = "ok"
	}
	return verdict, nil
}

func publish(ctx context.Context, connection *Connection, events []*gatewayv1.Event) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answered)
	defer cancel()
	accepted, err := connection.Publish(ctx, events)
	if err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	return accepted.GetCursor(), nil
}

// wait for something that events bring about.
func wait(ctx context.Context, connection *Connection, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-connection.Done():
		return connection.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func counts(arguments []string) (own, others int, err error) {
	own = 120
	if len(arguments) > 0 {
		own, err = strconv.Atoi(arguments[0])
	}
	if len(arguments) > 1 && err == nil {
		others, err = strconv.Atoi(arguments[1])
	}
	return own, others, err
}

func say(line interface{}) {
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err) // our own types
	}
	fmt.Println(string(encoded))
}
