package inject

import (
	"encoding/json"
	"fmt"
)

// Annotations by which Pods tell Prometheus where their metrics are.
const (
	scrapeKey     = "prometheus.io/scrape"
	scrapePathKey = "prometheus.io/path"
	scrapePortKey = "prometheus.io/port"
)

// mergeMetrics turns Prometheus to the proxy, which answers with its own metrics and the
// application's, and returns where these are, as JSON; "" if the Pod does not say. A
// Pod that does not want to be scraped stays as it is.
func mergeMetrics(annotations map[string]string) string {
	scrape, path, port := annotations[scrapeKey], annotations[scrapePathKey], annotations[scrapePortKey]
	if scrape == "false" || port == fmt.Sprint(AppPort) {
		return ""
	}
	annotations[scrapeKey], annotations[scrapePathKey], annotations[scrapePortKey] = "true", "/stats/prometheus", fmt.Sprint(AppPort)
	if scrape == "" && path == "" && port == "" {
		return ""
	}
	// Strings always marshal.
	text, _ := json.Marshal(map[string]string{"scrape": scrape, "path": path, "port": port})
	return string(text)
}
