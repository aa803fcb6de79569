package config

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// defaultService does what the API server does for ports: TCP, and the same port at
// the Pods. (A headless or ExternalName Service is no exception.)
func defaultService(value any) {
	s := value.(*corev1.Service)
	if s.Spec.Type == "" {
		s.Spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == (intstr.IntOrString{}) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

// defaultSecret does what the API server does: stringData is written over data.
func defaultSecret(value any) {
	s := value.(*corev1.Secret)
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = make(map[string][]byte, len(s.StringData))
	}
	for k, v := range s.StringData {
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

// defaultPod does what the API server does with the old name of serviceAccountName, in a
// Pod or a template of Pods.
func defaultPod(value any) {
	var s *corev1.PodSpec
	switch v := value.(type) {
	case *corev1.Pod:
		s = &v.Spec
	case *appsv1.Deployment:
		s = &v.Spec.Template.Spec
	case *appsv1.StatefulSet:
		s = &v.Spec.Template.Spec
	case *appsv1.DaemonSet:
		s = &v.Spec.Template.Spec
	case *appsv1.ReplicaSet:
		s = &v.Spec.Template.Spec
	}
	if s.ServiceAccountName == "" {
		s.ServiceAccountName = s.DeprecatedServiceAccount
	}
}
