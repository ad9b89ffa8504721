package main

import (
	"context"
	"errors"
	"log"
	"unicode/utf8"

	gatewayv1 "gateway/v1"
)

// An Answerer answers one call, piece by piece: say returns once the daemon has the piece, however many connections that
// takes. The context ends when nobody waits for the answer any more.
type Answerer func(ctx context.Context, call *gatewayv1.Call, say func(text string) error) error

// CannotAnswer is for the user to read; of any other error the user learns only that it happened.
type CannotAnswer string

func (e CannotAnswer) Error() string { return string(e) }

// An agent that this client answers for.
type served struct {
	answer Answerer
	ended  chan<- error // with room for the one error that it gets
}

// Serve makes this client a worker: it answers for an agent from now on, each call in a goroutine of its own. It returns
// once the daemon has accepted it. The channel gets an error when a reload has taken the agent away from its workers;
// nothing of it is left to answer then.
func (c *Connection) Serve(ctx context.Context, agent string, answer Answerer) (<-chan error, error) {
	ended := make(chan error, 1)
	c.mu.Lock()
	c.agents[agent] = served{answer, ended}
	c.mu.Unlock()
	err := c.hold(ctx, func() *gatewayv1.ConnectRequest {
		return &gatewayv1.ConnectRequest{Frame: &gatewayv1.ConnectRequest_RegisterAgent{
			RegisterAgent: &gatewayv1.RegisterAgent{Agent: agent, NotifyEnd: true},
		}}
	}, func(*gatewayv1.Accepted) {})
	return ended, err
}

// ended: an agent is not ours any more.
func (c *Connection) ended(agent string, why error) {
	c.drop(func(s *standing) bool { return s.frame().GetRegisterAgent().GetAgent() == agent })
	c.mu.Lock()
	defer c.mu.Unlock()
	if served, found := c.agents[agent]; found {
		delete(c.agents, agent)
		served.ended <- why
	}
}

func (c *Connection) called(call *gatewayv1.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := c.agents[call.GetAgent()].answer
	if answer == nil || c.calls[call.GetCallId()] != nil {
		return // told again after a cut: it is being answered
	}
	ctx, cancel := context.WithTimeout(context.Background(), toDuration(call.GetTimeout()))
	c.calls[call.GetCallId()] = cancel
	go func() {
		defer c.cancelCall(call.GetCallId())
		c.respond(ctx, call, answer)
	}()
}

// cancelCall ends a call here, whoever has ended it; one that is not here is ended already.
func (c *Connection) cancelCall(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.calls[id]; cancel != nil {
		cancel()
		delete(c.calls, id)
	}
}

func (c *Connection) respond(ctx context.Context, call *gatewayv1.Call, answer Answerer) {
	offset := int64(0) // in code points, as every language can count them
	reply := func(text string, isFinal bool, failure string) error {
		// The offset makes it harmless to say it twice, which happens when the connection is lost: every new one
		// registers first, then says it again.
		got := c.request(ctx, &request{frame: &gatewayv1.ConnectRequest{Frame: &gatewayv1.ConnectRequest_CallReply{
			CallReply: &gatewayv1.CallReply{
				CallId: call.GetCallId(), Content: text, Final: isFinal, Error: failure,
				XOffset: &gatewayv1.CallReply_Offset{Offset: offset},
			},
		}}})
		offset += int64(utf8.RuneCountInString(text))
		return got.err
	}
	err := answer(ctx, call, func(text string) error { return reply(text, false, "") })
	var sorry CannotAnswer
	switch {
	case err == nil:
		err = reply("", true, "")
	case ctx.Err() != nil || isNotFound(err): // nobody waits for it any more
		return
	case errors.As(err, &sorry):
		err = reply("", false, string(sorry))
	default:
		log.Printf("call %s: %v", call.GetCallId(), err)
		err = reply("", false, "Something went wrong inside the agent.")
	}
	if err != nil && ctx.Err() == nil && !isNotFound(err) {
		log.Printf("call %s: its end was not taken: %v", call.GetCallId(), err)
	}
}

func isNotFound(err error) bool {
	var refusal *GatewayError
	return errors.As(err, &refusal) && refusal.Reason == gatewayv1.ErrorReason_ERROR_REASON_NOT_FOUND
}
