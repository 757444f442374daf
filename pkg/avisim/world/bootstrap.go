// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

const defaultCloud = "Default-Cloud"

// stable derives the uuid of a shipped object from its identity, so that it is the same in every run.
func stable(typ, cloud, name string) string {
	return typ + "-" + uuid.NewSHA1(uuid.NameSpaceOID, []byte("avisim/"+typ+"/"+cloud+"/"+name)).String()
}

// shipment is objects of one type.
type shipment struct {
	typ     string
	objects []map[string]any
}

// shipped lists the objects of a fresh Controller by type. Evidence: the names are documented, parameters are schema
// defaults (no client may depend on them).
func shipped() []shipment {
	return slices.Concat(shippedProfiles(), shippedOthers(), shippedConfiguration())
}

// shippedProfiles are what others refer to.
func shippedProfiles() []shipment {
	type list = []map[string]any
	named := func(names ...string) list {
		var out list
		for _, n := range names {
			out = append(out, map[string]any{"name": n})
		}
		return out
	}
	network := func(name, kind, sub string, params map[string]any) map[string]any {
		return map[string]any{"name": name, "profile": map[string]any{"type": "PROTOCOL_TYPE_" + kind, sub: params}}
	}
	monitor := func(name, kind, sub string) map[string]any {
		m := map[string]any{"name": name, "type": "HEALTH_MONITOR_" + kind, "send_interval": 10, "receive_timeout": 4,
			"successful_checks": 2, "failed_checks": 2}
		if sub != "" {
			m[sub] = map[string]any{}
		}
		return m
	}
	app := func(name, kind string) map[string]any {
		return map[string]any{"name": name, "type": "APPLICATION_PROFILE_TYPE_" + kind}
	}
	return []shipment{
		{"networkprofile", list{
			network("System-TCP-Proxy", "TCP_PROXY", "tcp_proxy_profile", map[string]any{}),
			network("System-TCP-Fast-Path", "TCP_FAST_PATH", "tcp_fast_path_profile", map[string]any{}),
			network("System-UDP-Fast-Path", "UDP_FAST_PATH", "udp_fast_path_profile", map[string]any{}),
			network("System-UDP-Per-Pkt", "UDP_FAST_PATH", "udp_fast_path_profile", map[string]any{"per_pkt_loadbalance": true}),
			network("System-UDP-No-SNAT", "UDP_FAST_PATH", "udp_fast_path_profile", map[string]any{"snat": false}),
			network("System-UDP-Fast-Path-VDI", "UDP_FAST_PATH", "udp_fast_path_profile", map[string]any{"session_idle_timeout": 3600}),
			network("System-SCTP-Proxy", "SCTP_PROXY", "sctp_proxy_profile", map[string]any{}),
		}},
		{"applicationprofile", list{app("System-HTTP", "HTTP"), app("System-Secure-HTTP", "HTTP"), app("System-L4-Application", "L4"),
			app("System-SSL-Application", "SSL"), app("System-DNS", "DNS"), app("System-Syslog", "SYSLOG"),
			app("System-Secure-HTTP-VDI", "HTTP")}},
		{"healthmonitor", list{
			monitor("System-HTTP", "HTTP", "http_monitor"), monitor("System-HTTPS", "HTTPS", "https_monitor"), monitor("System-Ping", "PING", ""),
			monitor("System-TCP", "TCP", "tcp_monitor"), monitor("System-UDP", "UDP", "udp_monitor"), monitor("System-DNS", "DNS", ""),
			monitor("System-SCTP", "SCTP", "sctp_monitor"), monitor("System-Xternal-Perl", "EXTERNAL", ""),
			monitor("System-Xternal-Shell", "EXTERNAL", ""),
			monitor("System-Xternal-Python", "EXTERNAL", ""), monitor("System-PingAccessAgent", "HTTPS", "https_monitor"),
			monitor("System-GSLB-Ping", "PING", ""), monitor("System-GSLB-TCP", "TCP", "tcp_monitor"),
			monitor("System-GSLB-HTTP", "HTTP", "http_monitor"),
			monitor("System-GSLB-HTTPS", "HTTPS", "https_monitor"), monitor("System-GSLB-UDP", "UDP", "udp_monitor"),
		}},
		{"applicationpersistenceprofile", list{
			{"name": "System-Persistence-Client-IP", "persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS"},
			{"name": "System-Persistence-Http-Cookie", "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE"},
			{"name": "System-Persistence-TLS", "persistence_type": "PERSISTENCE_TYPE_TLS"},
			{"name": "System-Persistence-App-Cookie", "persistence_type": "PERSISTENCE_TYPE_APP_COOKIE"},
			{"name": "System-Persistence-Custom-Http-Header", "persistence_type": "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER"},
		}},
		{"analyticsprofile", named("System-Analytics-Profile")},
		{"sslprofile", named("System-Standard", "System-Standard-PFS", "System-Standard-Portal")},
		{"sslkeyandcertificate", named("System-Default-Cert", "System-Default-Portal-Cert", "System-Default-Portal-Cert-EC256",
			"System-Default-Secure-Channel-Cert")},
		{"useraccountprofile", list{{"name": "Default-User-Account-Profile", "max_login_failure_count": 20, "account_lock_timeout": 30,
			"max_concurrent_sessions": 0, "max_password_history_count": 4, "credentials_timeout_threshold": 180}}},
	}
}

// shippedOthers are what the clients that are known look up beside that.
func shippedOthers() []shipment {
	type list = []map[string]any
	group := func(name string, keys ...string) map[string]any {
		kv := list{}
		for _, k := range keys {
			kv = append(kv, map[string]any{"key": k})
		}
		return map[string]any{"name": name, "type": "SG_TYPE_STRING", "kv": kv}
	}
	return []shipment{
		{"stringgroup", list{
			group("System-Compressible-Content-Types", "text/html", "text/plain", "text/css", "application/javascript", "application/json"),
			group("System-Cacheable-Resource-Types", "text/css", "text/html", "image/png", "image/jpeg", "application/javascript"),
			group("System-Devices-Mobile", "Android", "iPhone", "iPad"),
		}},
		{"role", list{{"name": "System-Admin"}, {"name": "Tenant-Admin"}, {"name": "Application-Admin"}, {"name": "Application-Operator"},
			{"name": "Security-Admin"}, {"name": "WebApp-Firewall-Admin"}}},
		{"errorpageprofile", list{{"name": "Custom-Error-Page-Profile"}}},
		{"wafprofile", list{{"name": "System-WAF-Profile"}}},
		{"actiongroupconfig", list{{"name": "System-Alert-Level-Medium", "level": "ALERT_MEDIUM", "external_only": false}}},
		{"backupconfiguration", list{{"name": "Backup-Configuration", "save_local": true, "maximum_backups_stored": 4}}},
	}
}

// shippedConfiguration is the system's own settings, and a cloud that can be used.
func shippedConfiguration() []shipment {
	type list = []map[string]any
	ipv4 := func(a string) map[string]any { return map[string]any{"addr": a, "type": "V4"} }
	ipv6 := func(a string) map[string]any { return map[string]any{"addr": a, "type": "V6"} }
	subnet := func(addr map[string]any, mask int, begin, end map[string]any) map[string]any {
		return map[string]any{"prefix": map[string]any{"ip_addr": addr, "mask": mask}, "static_ip_ranges": list{
			{"range": map[string]any{"begin": begin, "end": end}, "type": "STATIC_IPS_FOR_VIP_AND_SE"}}}
	}
	return []shipment{
		{"systemconfiguration", list{{"default_license_tier": "ENTERPRISE", "docker_mode": false, "welcome_workflow_complete": true,
			"fips_mode": false,
			"portal_configuration": map[string]any{"enable_https": true, "redirect_to_https": true, "enable_http": true,
				"use_uuid_from_input":        false,
				"allow_basic_authentication": false, "password_strength_check": false, "disable_swagger": false, "api_force_timeout": 24,
				"enable_clickjacking_protection": true, "disable_remote_cli_shell": false, "sslprofile_ref": "/api/sslprofile?name=System-Standard-Portal",
				"sslkeyandcertificate_refs": []string{"/api/sslkeyandcertificate?name=System-Default-Portal-Cert",
					"/api/sslkeyandcertificate?name=System-Default-Portal-Cert-EC256"}},
			"secure_channel_configuration": map[string]any{"sslkeyandcertificate_refs": []string{"/api/sslkeyandcertificate?name=System-Default-Secure-Channel-Cert"}},
			"dns_configuration":            map[string]any{"search_domain": ""},
			"email_configuration": map[string]any{"smtp_type": "SMTP_LOCAL_HOST", "from_email": "admin@avicontroller.net",
				"mail_server_name": "localhost", "mail_server_port": 25, "disable_tls": false},
			"ssh_ciphers": []string{"aes128-ctr", "aes256-ctr", "arcfour256", "arcfour128"},
			"ssh_hmacs": []string{"hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com",
				"hmac-sha2-512"},
			"global_tenant_config": map[string]any{"tenant_vrf": false, "se_in_provider_context": true,
				"tenant_access_to_provider_se": true}}}},
		{"controllerproperties", list{{"api_idle_timeout": 15, "max_concurrent_sessions": 0, "portal_request_rate_limit": 0,
			"portal_request_burst_limit": 0, "enable_api_sharding": true, "permission_scoped_shared_admin_networks": false}}},
		{"seproperties", list{{}}},
		{"cloud", list{{"name": defaultCloud, "vtype": "CLOUD_NONE", "mtu": 1500, "dhcp_enabled": true, "license_tier": "ENTERPRISE"}}},
		// What follows is the configuration that makes Default-Cloud usable.
		{"network", list{
			{"name": "vip-network", "dhcp_enabled": false, "configured_subnets": list{
				subnet(ipv4("10.10.0.0"), 16, ipv4("10.10.0.10"), ipv4("10.10.255.250")),
				subnet(ipv6("fd00:10:10::"), 64, ipv6("fd00:10:10::10"), ipv6("fd00:10:10::ffff"))}},
			{"name": "node-network", "dhcp_enabled": false, "configured_subnets": list{
				subnet(ipv4("10.20.0.0"), 16, ipv4("10.20.255.10"), ipv4("10.20.255.250"))}},
		}},
		{"ipamdnsproviderprofile", list{
			{"name": "Default-IPAM", "type": "IPAMDNS_TYPE_INTERNAL", "allocate_ip_in_vrf": false,
				"internal_profile": map[string]any{"usable_networks": list{{"nw_ref": "/api/network?name=vip-network"}}}},
			{"name": "Default-DNS", "type": "IPAMDNS_TYPE_INTERNAL_DNS",
				"internal_profile": map[string]any{"dns_service_domain": list{{"domain_name": "demo.avi.local", "pass_through": true}}}},
		}},
		{"serviceengine", list{{"name": "Avi-se-1", "mgmt_ip_address": ipv4("10.20.255.5"), "enable_state": "SE_STATE_ENABLED",
			"se_group_ref": "/api/serviceenginegroup?name=Default-Group"}}},
	}
}

// configured are the types whose shipped objects stand for somebody's configuration: they can be deleted.
var configured = map[string]bool{"network": true, "ipamdnsproviderprofile": true, "errorpageprofile": true}

// populate fills a new world from its state file, or with the shipped objects and those of the fixture.
func (w *World) populate() error {
	f := &fixture{}
	if file := w.settings.FixtureFile; file != "" {
		var err error
		if f, err = loadFixture(file); err != nil {
			return err
		}
	}
	var in *snapshot
	if w.settings.StateFile != "" {
		var err error
		if in, err = (fileKeeper{w.settings.StateFile}).load(); err != nil {
			return err
		}
	}
	var err error
	if in != nil {
		w.Write(func(s *Writer) { err = s.restore(in) })
		if err != nil {
			return misfit(w.settings.StateFile, err)
		}
		w.loaded = in
		return f.apply(w, false)
	}
	w.Write(func(s *Writer) {
		if err = s.bootstrap(); err != nil {
			err = fmt.Errorf("creating the shipped objects: %w", err)
			return
		}
		err = f.build(s)
	})
	if err != nil {
		return err
	}
	return f.apply(w, true)
}

// bootstrap makes the shipped objects.
func (s *Writer) bootstrap() error {
	admin := &Object{Ref: doc.Ref{Type: "tenant", UUID: AdminTenant}, Kind: KindOf("tenant"), Name: AdminTenant, Tenant: AdminTenant,
		Modified: s.tick(), System: true, Body: map[string]any{"name": AdminTenant, "local": true}}
	s.Store.put(admin)
	if err := s.shipAll(func(string, string) bool { return true }); err != nil {
		return err
	}
	if err := s.shipAdmin(); err != nil {
		return err
	}
	if err := s.set("cloud", defaultCloud, doc.Ref{}, map[string]any{"ipam_provider_ref": "/api/ipamdnsproviderprofile?name=Default-IPAM",
		"dns_provider_ref": "/api/ipamdnsproviderprofile?name=Default-DNS"}); err != nil {
		return err
	}
	return s.set("systemconfiguration", "", doc.Ref{}, map[string]any{"default_license_tier": s.settings.LicenseTier})
}

// shipAll makes the shipped objects that the version has and that are wanted.
func (s *Writer) shipAll(wanted func(typ, name string) bool) error {
	for _, group := range shipped() {
		for _, body := range group.objects {
			name, _ := body["name"].(string)
			if strings.Contains(name, "SCTP") && s.version < schema.SCTPSince || !wanted(group.typ, name) {
				continue
			}
			if err := s.ship(group.typ, AdminTenant, "", name, body, !configured[group.typ]); err != nil {
				return err
			}
		}
	}
	return nil
}

// shipNewer makes the shipped objects that are missing after an upgrade. What stands for somebody's configuration stays away if it was
// deleted, and an object of the same name that somebody made stays as it is.
func (s *Writer) shipNewer() error {
	return s.shipAll(func(typ, name string) bool {
		return !configured[typ] && typ != "cloud" && typ != "serviceengine" && len(s.Store.Named(typ, AdminTenant, name)) == 0
	})
}

// ship creates one object with a stable uuid.
func (s *Writer) ship(typ, tenant, cloud, name string, body map[string]any, system bool) error {
	kind := KindOf(typ)
	body, err := doc.Normal(body)
	if err != nil {
		return fmt.Errorf("%s %q: %w", typ, name, err)
	}
	w := &write{Write: Write{Kind: kind, Tenant: tenant, Incoming: body, Slug: stable(typ, cloud, name)}, trusted: true, system: system}
	switch {
	case kind.Singleton:
		w.Slug = kind.SingletonUUID()
	case s.Store.Get(doc.Ref{Type: typ, UUID: w.Slug}) != nil: // of another tenant's cloud, or of one that was renamed
		w.Slug = ""
	}
	return s.must(w)
}

// shipAdmin makes the first user. Evidence: its uuid and name are recorded.
func (s *Writer) shipAdmin() error {
	return s.must(&write{trusted: true, system: true, Write: Write{Kind: KindOf("user"), Tenant: AdminTenant, Slug: "user-1",
		Incoming: map[string]any{"name": s.settings.Username, "password": s.settings.Password, "full_name": "System Administrator",
			"is_superuser": true,
			"access":       []any{map[string]any{"role_ref": "/api/role?name=System-Admin", "all_tenants": true}}}}})
}

// furnish makes what belongs to each new cloud: the VRFs global and management, and an SE group. Evidence: documented.
func (s *Writer) furnish(cloud *Object) {
	for _, p := range []struct {
		typ  string
		body map[string]any
	}{
		{"vrfcontext", map[string]any{"name": "global", "system_default": true}},
		{"vrfcontext", map[string]any{"name": "management", "system_default": true}},
		{"serviceenginegroup", map[string]any{"name": "Default-Group", "max_vs_per_se": 10, "max_se": 10, "ha_mode": "HA_MODE_SHARED"}},
	} {
		p.body["cloud_ref"] = cloud.String()
		if err := s.ship(p.typ, cloud.Tenant, cloud.Name, p.body["name"].(string), p.body, true); err != nil {
			panic("avisim: " + err.Error()) // only a mistake in the tables can make a shipped object invalid
		}
	}
}
