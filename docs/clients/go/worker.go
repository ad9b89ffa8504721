package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	gatewayv1 "gateway/v1"

	structpb "github.com/golang/protobuf/ptypes/struct"
)

const pause = 50 * time.Millisecond // between two words, as if they were hard to find

var wanted = regexp.MustCompile(`(?i)order (\d+)`)

// work answers for an agent that gateway.yaml declares with `remote: true`, word by word, until it is told to stop.
//
//	GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… client worker [AGENT [CLIENT-ID]]
func work(agent, clientID string) error {
	address, token, err := whereabouts()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	connection := NewConnection(address, token, clientID, "go-worker/1")
	connection.OnAddressed = func(event *gatewayv1.Event) {
		if event.GetTarget() == agent && event.GetCustomType() == "order.asked" && event.GetCorrelationId() != "" {
			go answerEvent(ctx, connection, event)
		}
	}
	over := make(chan error, 1)
	go func() { over <- connection.Run(ctx) }()
	ended, err := connection.Serve(ctx, agent, func(ctx context.Context, call *gatewayv1.Call, tell func(string) error) error {
		err := lookUp(ctx, connection, call, tell)
		if err == nil {
			say(map[string]interface{}{"step": "answered", "call": call.GetCallId(), "resumed": connection.Stats().Resumed})
		} else if ctx.Err() != nil || isNotFound(err) { // nobody waits for it any more
			say(map[string]interface{}{"step": "cancelled", "call": call.GetCallId()})
		}
		return err
	})
	if err == nil {
		say(map[string]interface{}{"step": "registered", "agent": agent})
		select {
		case err = <-over:
		case err = <-ended: // a reload took the agent away: whoever starts us decides when to try again
			stop()
			<-over
			return err
		}
	}
	if ctx.Err() != nil {
		return nil // a signal has ended it
	}
	return err
}

// answerEvent answers a question that is addressed to the agent, which has no promise of one: by an event for who asked.
func answerEvent(ctx context.Context, connection *Connection, question *gatewayv1.Event) {
	ctx, cancel := context.WithTimeout(ctx, answered)
	defer cancel()
	if _, err := connection.Publish(ctx, []*gatewayv1.Event{told(question)}); err != nil {
		log.Printf("question %s: %v", question.GetId(), err) // who asked may be gone
	}
}

func told(question *gatewayv1.Event) *gatewayv1.Event {
	order := question.GetCustom().GetJson().GetFields()["order"].GetNumberValue()
	data := &structpb.Struct{Fields: map[string]*structpb.Value{"text": text(fmt.Sprintf("Order %.0f is on its way.", order))}}
	return &gatewayv1.Event{
		Type:          gatewayv1.EventType_EVENT_TYPE_CUSTOM,
		CustomType:    "order.told",
		Ephemeral:     true,
		Target:        question.GetStreamId(),
		CorrelationId: question.GetCorrelationId(),
		Data:          &gatewayv1.Event_Custom{Custom: &gatewayv1.CustomData{Form: &gatewayv1.CustomData_Json{Json: data}}},
	}
}

func lookUp(ctx context.Context, connection *Connection, call *gatewayv1.Call, tell func(string) error) error {
	found := wanted.FindStringSubmatch(call.GetText())
	if found == nil {
		return CannotAnswer(`Ask me for an order, such as "order 7".`)
	}
	number := found[1]
	// What it does for its answer is an event of the execution, for whoever may see that.
	if _, err := connection.Publish(ctx, []*gatewayv1.Event{lookingUp(call, number)}); err != nil {
		return err
	}
	sentence := fmt.Sprintf("Order %[1]s: %[1]s × A-%[1]s, paid, packed, handed over and on its way to Zürich 🚚", number)
	words := strings.Split(sentence, " ")
	if err := tell(words[0]); err != nil {
		return err
	}
	for again := true; again; again = strings.Contains(strings.ToLower(call.GetText()), "watch") {
		// "watch order 7" is told again and again, until nobody wants to know any more.
		for _, word := range words[1:] {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := tell(" " + word); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookingUp has an id, so that saying it twice is harmless.
func lookingUp(call *gatewayv1.Call, number string) *gatewayv1.Event {
	return &gatewayv1.Event{
		Id:          call.GetCallId() + "-look-up",
		Type:        gatewayv1.EventType_EVENT_TYPE_TOOL_CALL_STARTED,
		ExecutionId: call.GetExecutionId(),
		Data: &gatewayv1.Event_ToolCallStarted{ToolCallStarted: &gatewayv1.ToolCallStartedData{
			ToolUseId: "look-up", ToolName: "orders",
			ToolInput: &structpb.Struct{Fields: map[string]*structpb.Value{"order": text(number)}},
		}},
	}
}
