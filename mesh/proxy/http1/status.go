package http1

// StatusText is the reason phrase of a status (RFC 9110, 15), empty for unknown ones.
func StatusText(status int) string {
	for _, p := range phrases {
		if p.status == status {
			return p.text
		}
	}
	return ""
}

// phrases has the frequent ones first.
var phrases = [...]struct {
	status int
	text   string
}{
	{200, "OK"}, {503, "Service Unavailable"}, {404, "Not Found"}, {500, "Internal Server Error"},
	{201, "Created"}, {204, "No Content"}, {301, "Moved Permanently"}, {302, "Found"}, {304, "Not Modified"},
	{400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {429, "Too Many Requests"},
	{502, "Bad Gateway"}, {504, "Gateway Timeout"}, {408, "Request Timeout"},
	{100, "Continue"}, {101, "Switching Protocols"}, {102, "Processing"}, {103, "Early Hints"},
	{202, "Accepted"}, {203, "Non-Authoritative Information"}, {205, "Reset Content"}, {206, "Partial Content"},
	{207, "Multi-Status"}, {208, "Already Reported"}, {226, "IM Used"},
	{300, "Multiple Choices"}, {303, "See Other"}, {305, "Use Proxy"}, {307, "Temporary Redirect"}, {308, "Permanent Redirect"},
	{402, "Payment Required"}, {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {407, "Proxy Authentication Required"},
	{409, "Conflict"}, {410, "Gone"}, {411, "Length Required"}, {412, "Precondition Failed"}, {413, "Payload Too Large"},
	{414, "URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"}, {417, "Expectation Failed"},
	{418, "I'm a teapot"}, {421, "Misdirected Request"}, {422, "Unprocessable Content"}, {423, "Locked"},
	{424, "Failed Dependency"}, {425, "Too Early"}, {426, "Upgrade Required"}, {428, "Precondition Required"},
	{431, "Request Header Fields Too Large"}, {451, "Unavailable For Legal Reasons"}, {501, "Not Implemented"},
	{505, "HTTP Version Not Supported"}, {506, "Variant Also Negotiates"}, {507, "Insufficient Storage"},
	{508, "Loop Detected"}, {510, "Not Extended"}, {511, "Network Authentication Required"},
}
