package incluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// tokenAudience is what proxies' tokens are made for: the injector asks for it.
const tokenAudience = "istio-ca"

// tokenReviewer believes what the API server says of a token.
type tokenReviewer struct{ client *kube.Client }

var _ identity.Authenticator = tokenReviewer{}

// Authenticate implements identity.Authenticator: a token that the API server takes
// for our audience and that belongs to a service account is that account's identity.
func (t tokenReviewer) Authenticate(ctx context.Context, token string, _ []string) (identity.ID, error) {
	if token == "" {
		return identity.ID{}, identity.ErrNoCredentials
	}
	answer, err := t.client.Review(ctx, "authentication.k8s.io/v1", "TokenReview",
		map[string]any{"token": token, "audiences": []any{tokenAudience}})
	if err != nil {
		return identity.ID{}, err
	}
	return tokenOwner(answer)
}

func tokenOwner(answer *unstructured.Unstructured) (identity.ID, error) {
	if problem, _, _ := unstructured.NestedString(answer.Object, "status", "error"); problem != "" {
		return identity.ID{}, errors.New("the token is refused: " + problem)
	}
	if ok, _, _ := unstructured.NestedBool(answer.Object, "status", "authenticated"); !ok {
		return identity.ID{}, errors.New("the token is refused")
	}
	// A server that knows no audiences says nothing of them: such a token may have been
	// made for anybody.
	audiences, _, _ := unstructured.NestedStringSlice(answer.Object, "status", "audiences")
	if len(audiences) != 1 || audiences[0] != tokenAudience {
		return identity.ID{}, fmt.Errorf("the token is not for %s", tokenAudience)
	}
	user, _, _ := unstructured.NestedString(answer.Object, "status", "user", "username")
	parts := strings.Split(user, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" {
		return identity.ID{}, fmt.Errorf("the token is of %q, which is no service account", user)
	}
	return identity.ID{Namespace: parts[2], ServiceAccount: parts[3]}, nil
}
