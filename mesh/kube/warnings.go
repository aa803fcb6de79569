package kube

import "context"

// warned is the key of a context's listener for warnings.
type warned struct{}

// WithWarnings has f hear the warnings of the server, those of its admission webhooks
// among them, that requests with this context get.
func WithWarnings(ctx context.Context, f func(text string)) context.Context {
	return context.WithValue(ctx, warned{}, f)
}

// warnings implements rest.WarningHandlerWithContext.
type warnings struct{}

// warnCode is the code of all warnings of Kubernetes' API servers; others are of caches
// on the way.
const warnCode = 299

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _ string, text string) {
	if f, ok := ctx.Value(warned{}).(func(string)); ok && code == warnCode && text != "" {
		f(text)
	}
}
