package main

import (
	"context"
	"sort"
	"strconv"
	"sync"
	"time"

	gatewayv1 "gateway/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
	protocol  = 1
	handshake = 10 * time.Second // from dialling to the welcome
)

// A link is one connection. grpc allows one sender and one receiver at a time.
type link struct {
	sending sync.Mutex
	stream  gatewayv1.EventService_ConnectClient
}

func (l *link) send(frames ...*gatewayv1.ConnectRequest) {
	l.sending.Lock()
	defer l.sending.Unlock()
	for _, frame := range frames {
		if l.stream.Send(frame) != nil {
			return // Recv says why; the next connection says it again
		}
	}
}

// converse is one connection from dialling to its end; it returns the reason.
func (c *Connection) converse(ctx context.Context) *GatewayError {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Each attempt dials for itself, so that there is one back-off and not two that wait for each other. Keepalive
	// notices a peer that has vanished without a word.
	conn, err := grpc.DialContext(ctx, c.Address, grpc.WithInsecure(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 25 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		return &GatewayError{Code: codes.InvalidArgument, Message: err.Error(), Fatal: true}
	}
	defer conn.Close()
	impatience := time.AfterFunc(handshake, cancel)
	defer impatience.Stop()
	outgoing := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.Token)
	stream, err := gatewayv1.NewEventServiceClient(conn).Connect(outgoing)
	if err != nil {
		return fromStatus(err)
	}
	link := &link{stream: stream}
	defer c.unlink()
	link.send(&gatewayv1.ConnectRequest{Frame: &gatewayv1.ConnectRequest_Hello{Hello: &gatewayv1.Hello{
		ClientId: c.ClientID, ClientVersion: c.ClientVersion, ResumeToken: c.resumeToken,
		ProtocolMin: protocol, ProtocolMax: protocol,
	}}})
	var end *GatewayError // what the daemon said before it ended the stream
	for {
		frame, err := stream.Recv()
		if err != nil {
			if end == nil {
				end = fromStatus(err)
			}
			return end
		}
		if frame.GetWelcome() != nil {
			impatience.Stop()
		}
		if said := c.take(frame, link); said != nil {
			end = said
			if frame.GetEnded() != nil {
				return end
			}
		}
		if c.Err() != nil {
			return end
		}
	}
}

func (c *Connection) unlink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
}

// take handles a frame. It returns an error if the frame announces the end of the connection.
func (c *Connection) take(frame *gatewayv1.ConnectResponse, link *link) *GatewayError {
	id, _ := strconv.ParseUint(frame.GetRequestId(), 10, 64)
	switch body := frame.Frame.(type) {
	case *gatewayv1.ConnectResponse_Welcome:
		c.welcomed(body.Welcome, link)
	case *gatewayv1.ConnectResponse_Refused:
		refused := fromFrame(body.Refused.GetError())
		refused.Fatal = body.Refused.GetStep() != gatewayv1.RecoveryStep_RECOVERY_STEP_WAIT_THEN_RETRY
		return refused
	case *gatewayv1.ConnectResponse_Goodbye:
		after := toDuration(body.Goodbye.GetReconnectAfter())
		return &GatewayError{Code: codes.Unavailable, Message: "goodbye: " + body.Goodbye.GetReason(), RetryAfter: after}
	case *gatewayv1.ConnectResponse_Accepted:
		c.settle(id, answer{accepted: body.Accepted})
	case *gatewayv1.ConnectResponse_Rejected:
		c.settle(id, answer{err: fromFrame(body.Rejected.GetError())})
	case *gatewayv1.ConnectResponse_Reply:
		c.reply(id, body.Reply)
	case *gatewayv1.ConnectResponse_Delivery:
		c.deliver(body.Delivery)
	case *gatewayv1.ConnectResponse_Call:
		c.called(body.Call)
	case *gatewayv1.ConnectResponse_CancelCall:
		c.cancelCall(body.CancelCall.GetCallId())
	case *gatewayv1.ConnectResponse_RegistrationEnded:
		c.ended(body.RegistrationEnded.GetAgent(), fromFrame(body.RegistrationEnded.GetError()))
	case *gatewayv1.ConnectResponse_Progress:
		c.advance(body.Progress.GetSubscriptionIds(), body.Progress.GetCursor())
	case *gatewayv1.ConnectResponse_Ended:
		// The cursor is ours and not the daemon's: it knows what it has sent, we know what we have handled. A stream
		// that begins anew says the subscription again, or learns why it may not.
		return &GatewayError{Code: codes.Unavailable, Message: "the subscription has ended: " + body.Ended.GetReason().String()}
	default: // a later daemon may say more than we know
	}
	return nil
}

func (c *Connection) welcomed(welcome *gatewayv1.Welcome, link *link) {
	c.mu.Lock()
	c.link, c.resumeToken = link, welcome.GetResumeToken()
	c.stats.Connections++
	if welcome.GetResumed() {
		c.stats.Resumed++
	}
	for _, lost := range welcome.GetLost() {
		c.stats.Lost = append(c.stats.Lost, lost.GetReason().String())
		// Where the daemon stopped sending; we may have received less. So it is second best, for a subscription that has
		// no cursor of its own yet.
		if sub := c.subscriptions[lost.GetSubscriptionId()]; sub != nil && sub.cursor == "" {
			sub.cursor = lost.GetCursor()
		}
	}
	kept := make([]uint64, 0, len(c.requests))
	for id, r := range c.requests {
		if r.standing != nil {
			delete(c.requests, id)
		} else if !(r.accepted && welcome.GetResumed()) {
			// The reply to an accepted send follows by itself on a connection that was taken up.
			kept = append(kept, id)
		}
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i] < kept[j] }) // as they were said first
	var frames []*gatewayv1.ConnectRequest
	for _, s := range c.standing {
		frames = append(frames, c.say(s))
	}
	for _, id := range kept {
		frames = append(frames, c.requests[id].frame)
	}
	c.mu.Unlock()
	link.send(frames...)
}

func (c *Connection) settle(id uint64, got answer) {
	c.mu.Lock()
	r := c.requests[id]
	if r != nil && r.isSend && got.accepted != nil {
		r.accepted = true // its answer is still to come
		c.mu.Unlock()
		return
	}
	delete(c.requests, id)
	c.mu.Unlock()
	if r == nil {
		return // its caller has given up, or it was answered on an earlier connection
	}
	if r.standing != nil {
		r.standing.answer(got.accepted, got.err)
		return
	}
	r.answer <- got
}

func (c *Connection) reply(id uint64, reply *gatewayv1.Reply) {
	if reply.GetFinal() {
		got := answer{reply: reply}
		if reply.GetError() != nil {
			got.err = fromFrame(reply.GetError())
		}
		c.settle(id, got)
		return
	}
	c.mu.Lock()
	r := c.requests[id]
	c.mu.Unlock()
	if r != nil && r.onPartial != nil {
		r.onPartial(reply)
	}
}

func (c *Connection) deliver(delivery *gatewayv1.Delivery) {
	ids := delivery.GetSubscriptionIds()
	for _, event := range delivery.GetEvents() {
		for _, handle := range c.handlers(ids) {
			handle(event)
		}
	}
	c.advance(ids, delivery.GetCursor())
}

func (c *Connection) handlers(ids []string) []func(*gatewayv1.Event) {
	if len(ids) == 0 {
		return []func(*gatewayv1.Event){c.OnAddressed}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []func(*gatewayv1.Event)
	for _, id := range ids {
		if sub := c.subscriptions[id]; sub != nil {
			found = append(found, sub.handle)
		}
	}
	return found
}

func (c *Connection) advance(ids []string, cursor string) {
	if cursor == "" {
		return // all of it was ephemeral
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if sub := c.subscriptions[id]; sub != nil {
			sub.cursor = cursor
		}
	}
}
