package compile

// fields lists, per message, the fields that are understood. Whatever else is set
// is refused by name. A "!" after a name accepts the field only with its zero
// value: somebody writes out what is the default.
//
// Among them are some that change nothing that this proxy does: how a kernel
// queues connections, how much is buffered, which statistics are kept apart (what a
// shadow of CORS decides is counted only). And
// respect_dns_ttl: no resolver that the proxy asks tells times to live, so that
// dns_refresh_rate is in force, as Envoy falls back on.
var fields = map[string]string{
	// Listeners.
	"envoy.config.listener.v3.Listener": "name address additional_addresses filter_chains default_filter_chain use_original_dst bind_to_port " +
		"listener_filters listener_filters_timeout continue_on_listener_filters_timeout traffic_direction access_log metadata stat_prefix " +
		"max_connections_to_accept_per_socket_event per_connection_buffer_limit_bytes enable_reuse_port reuse_port tcp_backlog_size " +
		"transparent! freebind! ignore_global_conn_limit bypass_overload_manager",
	"envoy.config.listener.v3.AdditionalAddress": "address",
	"envoy.config.listener.v3.FilterChain":       "filter_chain_match filters transport_socket transport_socket_connect_timeout name metadata use_proxy_proto!",
	"envoy.config.listener.v3.FilterChainMatch": "destination_port prefix_ranges source_prefix_ranges source_ports server_names " +
		"transport_protocol application_protocols",
	"envoy.config.listener.v3.Filter":                                                      "name typed_config",
	"envoy.config.listener.v3.ListenerFilter":                                              "name typed_config filter_disabled",
	"envoy.config.listener.v3.ListenerFilterChainMatchPredicate":                           "or_match not_match any_match destination_port_range",
	"envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet":                  "rules",
	"envoy.extensions.filters.listener.original_dst.v3.OriginalDst":                        "",
	"envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector":                      "initial_read_buffer_size",
	"envoy.extensions.filters.listener.http_inspector.v3.HttpInspector":                    "",
	"envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol":                    "allow_requests_without_proxy_protocol",
	"envoy.config.core.v3.Address":                                                         "socket_address",
	"envoy.config.core.v3.SocketAddress":                                                   "address port_value",
	"envoy.config.core.v3.CidrRange":                                                       "address_prefix prefix_len",
	"envoy.config.core.v3.TransportSocket":                                                 "name typed_config",
	"envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer":                           "",
	"envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport":  "config transport_socket",
	"envoy.config.core.v3.ProxyProtocolConfig":                                             "version",
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy":                               "stat_prefix cluster weighted_clusters idle_timeout access_log max_connect_attempts hash_policy tunneling_config",
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig":               "hostname use_post headers_to_add post_path",
	"envoy.type.v3.HashPolicy":                                                             "source_ip",
	"envoy.type.v3.HashPolicy.SourceIp":                                                    "",
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster":               "clusters",
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": "name weight",

	// The HTTP connection manager and its filters.
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": "codec_type stat_prefix rds route_config " +
		"http_filters tracing common_http_protocol_options http_protocol_options http2_protocol_options server_name " +
		"max_request_headers_kb stream_idle_timeout request_timeout request_headers_timeout drain_timeout delayed_close_timeout access_log " +
		"use_remote_address xff_num_trusted_hops generate_request_id preserve_external_request_id always_set_request_id_in_response " +
		"forward_client_cert_details set_current_client_cert_details proxy_100_continue upgrade_configs normalize_path merge_slashes " +
		"path_with_escaped_slashes_action request_id_extension add_user_agent! stream_error_on_invalid_http_message! " +
		"http1_safe_max_connection_duration",
	"envoy.extensions.filters.network.http_connection_manager.v3.Rds":        "config_source route_config_name",
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": "name typed_config is_optional",
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing": "client_sampling random_sampling " +
		"overall_sampling max_path_tag_length custom_tags provider spawn_upstream_span!",
	"envoy.config.trace.v3.Tracing.Http": "name typed_config",
	"envoy.config.trace.v3.ZipkinConfig": "collector_cluster collector_endpoint trace_id_128bit shared_span_context collector_endpoint_version " +
		"collector_hostname trace_context_option collector_service",
	"envoy.config.trace.v3.OpenTelemetryConfig":  "grpc_service http_service service_name",
	"envoy.config.trace.v3.SkyWalkingConfig":     "grpc_service client_config",
	"envoy.config.trace.v3.ClientConfig":         "service_name instance_name backend_token",
	"envoy.config.core.v3.GrpcService":           "envoy_grpc timeout initial_metadata",
	"envoy.config.core.v3.GrpcService.EnvoyGrpc": "cluster_name authority",
	"envoy.config.core.v3.HttpService":           "http_uri request_headers_to_add",
	"envoy.config.core.v3.HttpUri":               "uri cluster timeout",
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig":               "upgrade_type enabled",
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails": "subject cert chain dns uri",
	"envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension":                                "typed_config",
	"envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig":                                                       "pack_trace_reason use_request_id_for_trace_sampling",
	"envoy.config.core.v3.HttpProtocolOptions":                                                                      "idle_timeout max_connection_duration max_headers_count max_stream_duration max_requests_per_connection",
	"envoy.config.core.v3.Http1ProtocolOptions":                                                                     "allow_absolute_url accept_http_10 enable_trailers use_balsa_parser",
	"envoy.config.core.v3.Http2ProtocolOptions": "max_concurrent_streams initial_stream_window_size initial_connection_window_size connection_keepalive " +
		"allow_connect allow_metadata! override_stream_error_on_invalid_http_message!",
	"envoy.config.core.v3.KeepaliveSettings":                                 "interval timeout interval_jitter",
	"envoy.extensions.filters.http.router.v3.Router":                         "dynamic_stats suppress_envoy_headers start_child_span",
	"envoy.extensions.filters.http.cors.v3.Cors":                             "",
	"envoy.extensions.filters.http.cors.v3.CorsPolicy":                       "allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials filter_enabled shadow_enabled forward_not_matching_preflights",
	"envoy.extensions.filters.http.fault.v3.HTTPFault":                       "delay abort headers max_active_faults",
	"envoy.extensions.filters.http.fault.v3.FaultAbort":                      "http_status grpc_status header_abort percentage",
	"envoy.extensions.filters.common.fault.v3.FaultDelay":                    "fixed_delay header_delay percentage",
	"envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort":          "",
	"envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay":        "",
	"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig":               "emit_filter_state stats_for_all_methods enable_upstream_stats replace_dots_in_grpc_service_name",
	"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig":              "alpn_override",
	"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride": "upstream_protocol alpn_override",

	// Authorization and authentication.
	"envoy.extensions.filters.http.rbac.v3.RBAC":    "rules shadow_rules shadow_rules_stat_prefix",
	"envoy.extensions.filters.network.rbac.v3.RBAC": "rules shadow_rules stat_prefix shadow_rules_stat_prefix",
	"envoy.config.rbac.v3.RBAC":                     "action policies",
	"envoy.config.rbac.v3.Policy":                   "permissions principals",
	"envoy.config.rbac.v3.Permission": "and_rules or_rules any header url_path destination_ip destination_port metadata not_rule " +
		"requested_server_name uri_template",
	"envoy.config.rbac.v3.Permission.Set":                          "rules",
	"envoy.config.rbac.v3.Principal":                               "and_ids or_ids any authenticated direct_remote_ip remote_ip header url_path metadata filter_state not_id",
	"envoy.config.rbac.v3.Principal.Set":                           "ids",
	"envoy.config.rbac.v3.Principal.Authenticated":                 "principal_name",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication": "providers rules bypass_cors_preflight",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtProvider": "issuer audiences local_jwks forward from_headers from_params from_cookies " +
		"forward_payload_header payload_in_metadata normalize_payload_in_metadata claim_to_headers clear_route_cache",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload": "space_delimited_claims",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtHeader":                    "name value_prefix",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader":             "header_name claim_name",
	"envoy.extensions.filters.http.jwt_authn.v3.RequirementRule":              "match requires",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement":               "provider_name requires_any requires_all allow_missing allow_missing_or_failed",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList":         "requirements",
	"envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList":        "requirements",
	"google.protobuf.Empty":                                              "",
	"envoy.config.core.v3.TypedExtensionConfig":                          "name typed_config",
	"envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig": "path_template",
	"envoy.type.matcher.v3.PathMatcher":                                  "path",
	"envoy.type.matcher.v3.MetadataMatcher":                              "filter path value invert",
	"envoy.type.matcher.v3.MetadataMatcher.PathSegment":                  "key",
	"envoy.type.matcher.v3.FilterStateMatcher":                           "key string_match",
	"envoy.type.matcher.v3.ValueMatcher":                                 "string_match bool_match present_match list_match or_match",
	"envoy.type.matcher.v3.ListMatcher":                                  "one_of",
	"envoy.type.matcher.v3.OrMatcher":                                    "value_matchers",

	// External authorization.
	"envoy.extensions.filters.http.ext_authz.v3.ExtAuthz": "grpc_service http_service transport_api_version failure_mode_allow with_request_body " +
		"status_on_error filter_enabled_metadata stat_prefix allowed_headers",
	"envoy.extensions.filters.network.ext_authz.v3.ExtAuthz":           "stat_prefix grpc_service failure_mode_allow transport_api_version filter_enabled_metadata",
	"envoy.extensions.filters.http.ext_authz.v3.BufferSettings":        "max_request_bytes allow_partial_message pack_as_bytes",
	"envoy.extensions.filters.http.ext_authz.v3.HttpService":           "server_uri path_prefix authorization_request authorization_response",
	"envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest":  "allowed_headers headers_to_add",
	"envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse": "allowed_upstream_headers allowed_upstream_headers_to_append allowed_client_headers allowed_client_headers_on_success",
	"envoy.type.matcher.v3.ListStringMatcher":                          "patterns",

	// Rate limits.
	"envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit": "stat_prefix status token_bucket filter_enabled filter_enforced " +
		"request_headers_to_add_when_not_enforced response_headers_to_add descriptors stage vh_rate_limits always_consume_default_token_bucket " +
		"rate_limited_as_resource_exhausted rate_limits enable_x_ratelimit_headers",
	"envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor":  "entries token_bucket",
	"envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry": "key value",
	"envoy.type.v3.TokenBucket":                                      "max_tokens tokens_per_fill fill_interval",
	"envoy.type.v3.HttpStatus":                                       "code",
	"envoy.extensions.filters.http.ratelimit.v3.RateLimit": "domain stage request_type timeout failure_mode_deny rate_limited_as_resource_exhausted " +
		"rate_limit_service disable_x_envoy_ratelimited_header rate_limited_status response_headers_to_add status_on_error stat_prefix " +
		"filter_enabled filter_enforced rate_limits enable_x_ratelimit_headers",
	"envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute": "vh_rate_limits domain",
	"envoy.config.ratelimit.v3.RateLimitServiceConfig":             "grpc_service transport_api_version",
	"envoy.config.route.v3.RateLimit":                              "stage actions",
	"envoy.config.route.v3.RateLimit.Action": "destination_cluster request_headers query_parameters remote_address generic_key " +
		"header_value_match",
	"envoy.config.route.v3.RateLimit.Action.DestinationCluster": "",
	"envoy.config.route.v3.RateLimit.Action.RemoteAddress":      "",
	"envoy.config.route.v3.RateLimit.Action.RequestHeaders":     "header_name descriptor_key skip_if_absent",
	"envoy.config.route.v3.RateLimit.Action.QueryParameters":    "query_parameter_name descriptor_key skip_if_absent",
	"envoy.config.route.v3.RateLimit.Action.GenericKey":         "descriptor_value descriptor_key",
	"envoy.config.route.v3.RateLimit.Action.HeaderValueMatch":   "descriptor_value descriptor_key expect_match headers",

	// Access logs.
	"envoy.config.accesslog.v3.AccessLog":                             "name filter typed_config",
	"envoy.config.accesslog.v3.AccessLogFilter":                       "response_flag_filter status_code_filter duration_filter and_filter or_filter extension_filter",
	"envoy.config.accesslog.v3.StatusCodeFilter":                      "comparison",
	"envoy.config.accesslog.v3.DurationFilter":                        "comparison",
	"envoy.config.accesslog.v3.ComparisonFilter":                      "op value",
	"envoy.config.core.v3.RuntimeUInt32":                              "default_value runtime_key",
	"envoy.config.accesslog.v3.AndFilter":                             "filters",
	"envoy.config.accesslog.v3.OrFilter":                              "filters",
	"envoy.config.accesslog.v3.ExtensionFilter":                       "name typed_config",
	"envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter": "expression",
	"envoy.config.accesslog.v3.ResponseFlagFilter":                    "flags",
	"envoy.extensions.access_loggers.file.v3.FileAccessLog":           "path format json_format typed_json_format log_format",
	"envoy.extensions.access_loggers.stream.v3.StdoutAccessLog":       "log_format",
	"envoy.extensions.access_loggers.stream.v3.StderrAccessLog":       "log_format",
	"envoy.config.core.v3.SubstitutionFormatString":                   "text_format text_format_source json_format omit_empty_values",
	"envoy.config.core.v3.DataSource":                                 "filename inline_bytes inline_string",

	// Routes.
	"envoy.config.route.v3.RouteConfiguration": "name virtual_hosts request_headers_to_add request_headers_to_remove response_headers_to_add " +
		"response_headers_to_remove validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching metadata",
	"envoy.config.route.v3.VirtualHost": "name domains routes request_headers_to_add request_headers_to_remove response_headers_to_add " +
		"response_headers_to_remove typed_per_filter_config include_request_attempt_count retry_policy metadata rate_limits",
	"envoy.config.route.v3.Route": "name match route redirect direct_response metadata decorator typed_per_filter_config request_headers_to_add " +
		"request_headers_to_remove response_headers_to_add response_headers_to_remove stat_prefix",
	"envoy.config.route.v3.Decorator":                        "operation propagate",
	"envoy.config.route.v3.RouteMatch":                       "prefix path safe_regex path_separated_prefix connect_matcher case_sensitive runtime_fraction headers query_parameters grpc dynamic_metadata",
	"envoy.config.route.v3.RouteMatch.ConnectMatcher":        "",
	"envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions": "",
	"envoy.config.route.v3.HeaderMatcher": "name string_match present_match invert_match treat_missing_header_as_empty range_match " +
		"exact_match safe_regex_match prefix_match suffix_match contains_match",
	"envoy.config.route.v3.QueryParameterMatcher": "name string_match present_match",
	"envoy.config.route.v3.RouteAction": "cluster cluster_header weighted_clusters cluster_not_found_response_code prefix_rewrite " +
		"regex_rewrite host_rewrite_literal auto_host_rewrite append_x_forwarded_host timeout idle_timeout retry_policy request_mirror_policies " +
		"priority hash_policy max_grpc_timeout upgrade_configs max_stream_duration rate_limits include_vh_rate_limits",
	"envoy.config.route.v3.WeightedCluster": "clusters total_weight",
	"envoy.config.route.v3.WeightedCluster.ClusterWeight": "name weight request_headers_to_add request_headers_to_remove response_headers_to_add " +
		"response_headers_to_remove typed_per_filter_config host_rewrite_literal",
	"envoy.config.route.v3.RouteAction.MaxStreamDuration":               "max_stream_duration grpc_timeout_header_max",
	"envoy.config.route.v3.RouteAction.UpgradeConfig":                   "upgrade_type enabled connect_config",
	"envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig":     "",
	"envoy.config.route.v3.RouteAction.RequestMirrorPolicy":             "cluster runtime_fraction trace_sampled disable_shadow_host_suffix_append",
	"envoy.config.route.v3.RouteAction.HashPolicy":                      "header cookie connection_properties query_parameter terminal",
	"envoy.config.route.v3.RouteAction.HashPolicy.Header":               "header_name",
	"envoy.config.route.v3.RouteAction.HashPolicy.Cookie":               "name ttl path attributes",
	"envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute":      "name value",
	"envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties": "source_ip",
	"envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter":       "name",
	"envoy.config.route.v3.RetryPolicy": "retry_on num_retries per_try_timeout per_try_idle_timeout retry_host_predicate " +
		"host_selection_retry_max_attempts retriable_status_codes retry_back_off retriable_headers retry_priority",
	"envoy.config.route.v3.RetryPolicy.RetryPriority":                                 "name typed_config",
	"envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig": "update_frequency",
	"envoy.config.route.v3.RetryPolicy.RetryHostPredicate":                            "name typed_config",
	"envoy.config.route.v3.RetryPolicy.RetryBackOff":                                  "base_interval max_interval",
	"envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate":            "",
	"envoy.config.route.v3.RedirectAction": "https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite regex_rewrite " +
		"response_code strip_query",
	"envoy.config.route.v3.DirectResponseAction":    "status body",
	"envoy.config.core.v3.HeaderValueOption":        "header append append_action",
	"envoy.config.core.v3.HeaderValue":              "key value",
	"envoy.config.core.v3.RuntimeFractionalPercent": "default_value runtime_key",
	"envoy.type.matcher.v3.StringMatcher":           "exact prefix suffix contains safe_regex ignore_case",
	"envoy.type.matcher.v3.RegexMatcher":            "google_re2 regex",
	"envoy.type.matcher.v3.RegexMatchAndSubstitute": "pattern substitution",

	// Clusters and endpoints.
	"envoy.config.cluster.v3.Cluster": "name alt_stat_name type cluster_type eds_cluster_config connect_timeout lb_policy load_assignment circuit_breakers " +
		"http_protocol_options http2_protocol_options typed_extension_protocol_options common_http_protocol_options " +
		"upstream_http_protocol_options max_requests_per_connection dns_refresh_rate dns_failure_refresh_rate dns_lookup_family respect_dns_ttl " +
		"use_tcp_for_dns_lookups outlier_detection health_checks ignore_health_on_host_removal cleanup_interval upstream_bind_config round_robin_lb_config least_request_lb_config " +
		"ring_hash_lb_config maglev_lb_config common_lb_config transport_socket transport_socket_matches metadata upstream_connection_options " +
		"filters per_connection_buffer_limit_bytes wait_for_warm_on_init track_cluster_stats",
	"envoy.config.cluster.v3.Cluster.CustomClusterType":                          "name typed_config",
	"envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig":           "dns_cache_config allow_insecure_cluster_options",
	"envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig":            "name dns_lookup_family dns_refresh_rate host_ttl max_hosts dns_query_timeout",
	"envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig":        "dns_cache_config",
	"envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig": "dns_cache_config port_value",
	"envoy.config.cluster.v3.Cluster.EdsClusterConfig":                           "eds_config service_name",
	"envoy.config.cluster.v3.Cluster.TransportSocketMatch":                       "name match transport_socket",
	"envoy.config.cluster.v3.Cluster.RoundRobinLbConfig":                         "slow_start_config",
	"envoy.config.cluster.v3.Cluster.LeastRequestLbConfig":                       "choice_count active_request_bias slow_start_config",
	"envoy.config.cluster.v3.Cluster.RingHashLbConfig":                           "minimum_ring_size maximum_ring_size",
	"envoy.config.cluster.v3.Cluster.MaglevLbConfig":                             "table_size",
	"envoy.config.cluster.v3.Cluster.SlowStartConfig":                            "slow_start_window aggression min_weight_percent",
	"envoy.config.core.v3.RuntimeDouble":                                         "default_value runtime_key",
	"envoy.config.cluster.v3.Cluster.CommonLbConfig":                             "healthy_panic_threshold locality_weighted_lb_config update_merge_window",
	"envoy.config.cluster.v3.Filter":                                             "name typed_config",
	"envoy.config.cluster.v3.UpstreamConnectionOptions":                          "tcp_keepalive",
	"envoy.config.cluster.v3.CircuitBreakers":                                    "thresholds",
	"envoy.config.cluster.v3.CircuitBreakers.Thresholds":                         "priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining",
	"envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget":             "budget_percent min_retry_concurrency",
	"envoy.config.cluster.v3.OutlierDetection": "consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx " +
		"enforcing_success_rate success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor consecutive_gateway_failure " +
		"enforcing_consecutive_gateway_failure split_external_local_origin_errors consecutive_local_origin_failure " +
		"enforcing_consecutive_local_origin_failure enforcing_local_origin_success_rate! failure_percentage_threshold enforcing_failure_percentage " +
		"enforcing_failure_percentage_local_origin! failure_percentage_minimum_hosts failure_percentage_request_volume max_ejection_time " +
		"max_ejection_time_jitter successful_active_health_check_uneject_host always_eject_one_host",
	"envoy.config.core.v3.HealthCheck": "timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold healthy_threshold " +
		"alt_port reuse_connection http_health_check tcp_health_check grpc_health_check no_traffic_interval no_traffic_healthy_interval " +
		"unhealthy_interval unhealthy_edge_interval healthy_edge_interval always_log_health_check_failures! always_log_health_check_success!",
	"envoy.config.core.v3.HealthCheck.Payload":                                       "text binary",
	"envoy.config.core.v3.HealthCheck.HttpHealthCheck":                               "host path request_headers_to_add expected_statuses retriable_statuses codec_client_type method",
	"envoy.config.core.v3.HealthCheck.TcpHealthCheck":                                "send receive",
	"envoy.config.core.v3.HealthCheck.GrpcHealthCheck":                               "service_name authority",
	"envoy.config.core.v3.BindConfig":                                                "source_address extra_source_addresses",
	"envoy.config.core.v3.ExtraSourceAddress":                                        "address",
	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":                         "common_http_protocol_options upstream_http_protocol_options explicit_http_config use_downstream_protocol_config outlier_detection",
	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.OutlierDetection":        "error_matcher",
	"envoy.config.common.matcher.v3.MatchPredicate":                                  "or_match http_response_headers_match",
	"envoy.config.common.matcher.v3.MatchPredicate.MatchSet":                         "rules",
	"envoy.config.common.matcher.v3.HttpHeadersMatch":                                "headers",
	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig":      "http_protocol_options http2_protocol_options",
	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig": "http_protocol_options http2_protocol_options",
	"envoy.config.core.v3.UpstreamHttpProtocolOptions":                               "auto_sni auto_san_validation",
	"envoy.config.endpoint.v3.ClusterLoadAssignment":                                 "cluster_name endpoints",
	"envoy.config.endpoint.v3.LocalityLbEndpoints":                                   "locality lb_endpoints load_balancing_weight priority metadata",
	"envoy.config.endpoint.v3.LbEndpoint":                                            "endpoint health_status metadata load_balancing_weight",
	"envoy.config.endpoint.v3.Endpoint":                                              "address hostname health_check_config",
	"envoy.config.endpoint.v3.Endpoint.HealthCheckConfig":                            "port_value hostname address disable_active_health_check",

	// TLS.
	"envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext": "common_tls_context require_client_certificate require_sni! " +
		"disable_stateless_session_resumption disable_stateful_session_resumption session_timeout full_scan_certs_on_sni_mismatch",
	"envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext": "common_tls_context sni auto_host_sni allow_renegotiation! max_session_keys enforce_rsa_key_usage",
	"envoy.extensions.transport_sockets.tls.v3.CommonTlsContext": "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context " +
		"validation_context_sds_secret_config combined_validation_context alpn_protocols",
	"envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext": "default_validation_context validation_context_sds_secret_config",
	"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig":                                       "name sds_config",
	"envoy.extensions.transport_sockets.tls.v3.TlsParameters":                                         "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites",
	"envoy.extensions.transport_sockets.tls.v3.TlsCertificate":                                        "certificate_chain private_key",
	"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext": "trusted_ca match_subject_alt_names match_typed_subject_alt_names system_root_certs trust_chain_verification " +
		"verify_certificate_spki verify_certificate_hash",
	"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts": "",
	"envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher":                        "san_type matcher",
	"envoy.extensions.transport_sockets.tls.v3.Secret":                                       "name tls_certificate validation_context",
}

// leaves are messages that are taken as a whole: values, free-form metadata, and
// tuning that has no effect here.
var leaves = map[string]bool{
	"google.protobuf.Duration": true, "google.protobuf.Struct": true,
	"google.protobuf.BoolValue": true, "google.protobuf.UInt32Value": true, "google.protobuf.UInt64Value": true,
	"envoy.type.v3.Percent": true, "envoy.type.v3.FractionalPercent": true, "envoy.type.v3.Int32Range": true, "envoy.type.v3.Int64Range": true,
	"envoy.config.core.v3.Metadata": true, "envoy.config.core.v3.Locality": true,
	"envoy.config.core.v3.ConfigSource": true, "envoy.config.core.v3.TcpKeepalive": true,
	"envoy.type.tracing.v3.CustomTag":              true,
	"envoy.type.matcher.v3.RegexMatcher.GoogleRE2": true,
	"envoy.config.cluster.v3.Cluster.RefreshRate":  true, "envoy.config.cluster.v3.TrackClusterStats": true,
	"envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig": true,
}

// structs are the filters that come as a TypedStruct, by the type they stand for.
var structs = map[string]bool{
	metadataExchange: true,
	peerMetadata:     true,
	istioStats:       true,
}

const (
	metadataExchange = "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange"
	peerMetadata     = "type.googleapis.com/io.istio.http.peer_metadata.Config"
	istioStats       = "type.googleapis.com/stats.PluginConfig"
)
