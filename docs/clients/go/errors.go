package main

import (
	"fmt"
	"io"
	"time"

	gatewayv1 "gateway/v1"

	"github.com/golang/protobuf/ptypes"
	"github.com/golang/protobuf/ptypes/duration"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// GatewayError is a refusal: why, and what it means for the connection.
type GatewayError struct {
	Code       codes.Code
	Reason     gatewayv1.ErrorReason // for programs; Message is for people
	Message    string
	RetryAfter time.Duration
	Fatal      bool // the same hello would only be refused again
}

func (e *GatewayError) Error() string {
	if e.Reason == 0 {
		return fmt.Sprintf("%s (%s)", e.Message, e.Code)
	}
	return fmt.Sprintf("%s (%s, %s)", e.Message, e.Code, e.Reason)
}

// isFatal: wrong token, too few scopes, a newer process under our client id (Aborted, CONNECTION_REPLACED), another
// protocol. Everything else is worth another try.
func isFatal(code codes.Code) bool {
	switch code {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.FailedPrecondition,
		codes.Unimplemented, codes.Aborted:
		return true
	}
	return false
}

// fromFrame is for an error inside a frame.
func fromFrame(e *gatewayv1.Error) *GatewayError {
	code := codes.Code(e.GetCode())
	return &GatewayError{code, e.GetReason(), e.GetMessage(), toDuration(e.GetRetryAfter()), isFatal(code)}
}

// fromStatus is for what Recv returns at the end of a stream.
func fromStatus(err error) *GatewayError {
	if err == io.EOF {
		return &GatewayError{Code: codes.Unavailable, Message: "the daemon has closed the connection"}
	}
	s := status.Convert(err)
	return &GatewayError{Code: s.Code(), Message: s.Message(), Fatal: isFatal(s.Code())}
}

// toDuration gives 0 for an absent one.
func toDuration(d *duration.Duration) time.Duration {
	converted, err := ptypes.Duration(d)
	if err != nil {
		return 0
	}
	return converted
}
