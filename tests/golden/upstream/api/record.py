#!/usr/bin/env python3
"""Records the behaviour of a Kubernetes API server as normalised JSON, and compares two recordings.

  record.py --base URL --token T --out DIR [--group G ...] [--case SUBSTR] [--list]
  record.py --diff DIR1 DIR2 [--group G ...] [--max N] [--same FILE] [--again]
--like DIR: only the cases that DIR holds; --same FILE: append the names of equal cases (for a known-green list);
--again: normalise both recordings once more before they are compared, so that a change planted in one of them has to
get past the normaliser too.

Standard library only.  Every case is a list of steps (requests, watches, waits) that runs in a namespace
and removes what it made.  See README.md for the normalisation rules."""
import argparse, base64, copy, http.client, json, os, re, socket, ssl, struct, sys, threading, time, urllib.parse

TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json'
TABLE_ONLY = 'application/json;as=Table;v=v1;g=meta.k8s.io'
POM = 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json'
POML = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json'
PB = 'application/vnd.kubernetes.protobuf'
PBL = PB + ',application/json'
AGG = ('application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,'
       'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json')
JP, MP, SMP, AP = ('application/json-patch+json', 'application/merge-patch+json',
                   'application/strategic-merge-patch+json', 'application/apply-patch+yaml')
JSONCT = 'application/json'

http.client._MAXHEADERS = 2000

# ---------------------------------------------------------------- client
class Resp:
    def __init__(s, status, headers, raw):
        s.status, s.headers, s.raw = status, headers, raw
        s.json = None
        ct = s.h('content-type') or ''
        if 'json' in ct or raw[:1] in (b'{', b'['):
            try: s.json = json.loads(raw)
            except Exception: pass
    def h(s, name):
        for k, v in s.headers:
            if k.lower() == name: return v

class Client:
    def __init__(s, base, token):
        u = urllib.parse.urlparse(base)
        s.scheme, s.host, s.port = u.scheme, u.hostname, u.port or (443 if u.scheme == 'https' else 80)
        s.token = token
        s.ctx = ssl.create_default_context(); s.ctx.check_hostname = False; s.ctx.verify_mode = ssl.CERT_NONE
        s.conn = None
    def connect(s, timeout=45):
        if s.scheme == 'https': return http.client.HTTPSConnection(s.host, s.port, context=s.ctx, timeout=timeout)
        return http.client.HTTPConnection(s.host, s.port, timeout=timeout)
    def headers(s, h, tok):
        out = {'User-Agent': 'golden/1.0', 'Accept': JSONCT}
        t = s.token if tok == 'admin' else tok
        if t: out['Authorization'] = 'Bearer ' + t
        for k, v in (h or {}).items():
            if v is None: out.pop(k, None)
            else: out[k] = v
        return out
    def do(s, method, path, body=None, headers=None, tok='admin'):
        hd = s.headers(headers, tok)
        for attempt in (0, 1, 2):
            try:
                if s.conn is None: s.conn = s.connect()
                c = s.conn
                c.putrequest(method, path, skip_accept_encoding=True)
                for k, v in hd.items():
                    for x in (v if isinstance(v, list) else [v]): c.putheader(k, x)
                if body is not None or method in ('POST', 'PUT', 'PATCH'):
                    c.putheader('Content-Length', str(len(body or b'')))
                c.endheaders(body if body else None)
                r = c.getresponse(); raw = r.read()
                if r.will_close: c.close(); s.conn = None
                return Resp(r.status, r.getheaders(), raw)
            except (http.client.HTTPException, OSError) as e:
                if s.conn: s.conn.close()
                s.conn = None
                if isinstance(e, (BrokenPipeError, ConnectionResetError)) and body and len(body) > 1 << 20 and attempt == 1:
                    return Resp(0, [], b'connection closed while sending the body')
                if attempt == 2 and isinstance(e, http.client.RemoteDisconnected): return Resp(0, [], b'connection closed by the server')
                if attempt == 2 or isinstance(e, TimeoutError): raise

# ---------------------------------------------------------------- protobuf wire decoder without a schema
def pb_tree(b, depth=0):
    out, i, n = [], 0, len(b)
    def varint(i):
        v = sh = 0
        while True:
            if i >= n or sh > 63: raise ValueError
            c = b[i]; i += 1; v |= (c & 127) << sh; sh += 7
            if not c & 128: return v, i
    while i < n:
        t, i = varint(i); f, w = t >> 3, t & 7
        if f == 0: raise ValueError
        if w == 0: v, i = varint(i)
        elif w == 1:
            if i + 8 > n: raise ValueError
            v = 'f64:' + b[i:i + 8].hex(); i += 8
        elif w == 5:
            if i + 4 > n: raise ValueError
            v = 'f32:' + b[i:i + 4].hex(); i += 4
        elif w == 2:
            l, i = varint(i)
            if i + l > n: raise ValueError
            p = b[i:i + l]; i += l; v = None
            txt = None
            try:
                txt = p.decode()
                if any(ord(ch) < 32 and ch not in '\n\t\r' for ch in txt): txt = None
            except UnicodeDecodeError: pass
            if txt is None and p:
                if p[:4] == b'k8s\0':
                    try: v = {'k8s': pb_tree(p[4:], depth + 1)}
                    except ValueError: pass
                if v is None:
                    try: v = pb_tree(p, depth + 1)
                    except ValueError: v = 'hex:' + p.hex()
            else: v = txt if txt is not None else ''
        else: raise ValueError
        out.append([f, v])
    return out

# ---------------------------------------------------------------- normaliser (one per case)
UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')
TIME = re.compile(r'20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(?:Z|[+-]\d\d:\d\d)')
TIME2 = re.compile(r'20(?:2[5-9]|[3-9]\d)-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \w+( m=[+-][\d.]+)?')
JWT = re.compile(r'eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+')
PEM = re.compile(r'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?', re.S)
SVCIP = re.compile(r'\b10\.96\.\d+\.\d+(?!\d|/)')
NPORT = re.compile(r':(3\d{4})/(TCP|UDP|SCTP)')
AGE = re.compile(r'^(\d+[smhdy]){1,2}$')
MSGS = [
    (re.compile(r'(in scheme \\*")[^"\\]+'), r'\1<scheme>'),
    (re.compile(r'(too old resource version: )\d+ \(\d+\)'), r'\1<n> (<n>)'),
    (re.compile(r'(Too large resource version: \d+, current: )\d+'), r'\1<n>'),
    (re.compile(r'(ResourceVersion in object meta: )\d+'), r'\1<rv>'),
    (re.compile(r'(hash=)[0-9A-F]{64,}'), r'\1<hash>'),
    (re.compile(r'(The provided continue parameter is too old )'), r'\1'),
    (re.compile(r'(0x)[0-9a-f]{8,}'), r'\1<addr>'),
    (re.compile(r'(limit is )\d+'), r'\1<n>'),
    (re.compile(r'(kube-api-access-)[a-z0-9]{5}\b'), r'\1<rand>'),
    (re.compile(r'(\\*"resourceVersion\\*":\\*")\d+'), r'\1<rv>'),
    (re.compile(r'(ResourceVersion in record \()\d+'), r'\1<rv>'),
    (re.compile(r'(ResourceVersion: ?")\d+'), r'\1<rv>'),
    (re.compile('\u00a0'), ' '),
    (re.compile(r'\beyJ2IjoibWV0YS5rOHMuaW8v[\w-]+'), '<continue>'),
]
def mfkey(m): return [str(m.get(k, '')) for k in ('operation', 'manager', 'subresource', 'apiVersion')] if isinstance(m, dict) else ['', str(m)]
class Norm:
    base = None
    def __init__(s, literals=''):
        s.lit = literals; s.maps = {}; s.subst = []
        s.gen = [re.compile('(' + re.escape(g) + ')[bcdfghjklmnpqrstvwxz2456789]{5}(?![a-z0-9])') for g in set(re.findall(r'"generateName": "([^"]{1,50})"', literals))]
    def num(s, kind, v):
        m = s.maps.setdefault(kind, {})
        if v not in m: m[v] = len(m) + 1
        return '<%s:%d>' % (kind, m[v])
    def islit(s, v): return v in s.lit
    def text(s, t):
        if s.base: t = t.replace(s.base, '<server>')
        for a, b in s.subst: t = t.replace(a, b)
        for g in s.gen: t = g.sub(r'\1<rand>', t)
        t = JWT.sub(lambda m: m.group(0) if s.islit(m.group(0)) else '<jwt>', t)
        t = UUID.sub(lambda m: m.group(0) if s.islit(m.group(0)) else s.num('uid', m.group(0)), t)
        t = TIME.sub(lambda m: m.group(0) if s.islit(m.group(0)) else ('<microtime>' if m.group(1) else '<time>'), t)
        t = TIME2.sub('<gotime>', t)
        t = PEM.sub(lambda m: m.group(0) if s.islit(m.group(0).strip()) else '<pem>', t)
        t = SVCIP.sub(lambda m: m.group(0) if s.islit(m.group(0)) else s.num('ip', m.group(0)), t)
        for r, b in MSGS: t = r.sub(b, t)
        t = NPORT.sub(lambda m: ':<nodePort>/' + m.group(2) if 30000 <= int(m.group(1)) <= 32767 and not s.islit(m.group(1)) else m.group(0), t)
        return t
    def learn(s, v):
        """generateName suffixes: replace the generated name everywhere in this case"""
        if isinstance(v, dict):
            md = v.get('metadata')
            if isinstance(md, dict) and md.get('generateName') and isinstance(md.get('name'), str):
                g, n = md['generateName'], md['name']
                if n.startswith(g) and len(n) == len(g) + 5 and not s.islit('"' + n + '"') and (n, g + '<rand>') not in s.subst:
                    s.subst.append((n, g + '<rand>'))
            for x in v.values(): s.learn(x)
        elif isinstance(v, list):
            for x in v: s.learn(x)
    def val(s, v, key=None, parent=None, listmeta=False):
        if isinstance(v, dict):
            o = {}
            kind = v.get('kind') if isinstance(v.get('kind'), str) else ''
            islist = ('items' in v or 'rows' in v or kind.endswith('List')) and 'metadata' in v
            for k, x in v.items():
                kk = s.text(k) if isinstance(k, str) else k
                o[kk] = s.val(x, k, v, listmeta=(k == 'metadata' and islist) or (listmeta and k != 'items'))
            if v.get('type') == 'BOOKMARK' and isinstance(o.get('object'), dict):
                md = o['object'].get('metadata')
                if isinstance(md, dict) and 'resourceVersion' in md: md['resourceVersion'] = '<rv>'
            if 'columnDefinitions' in v or 'rows' in v:
                for r in o.get('rows') or []:
                    r['cells'] = ['<age>' if isinstance(c, str) and AGE.match(c) else c for c in r.get('cells') or []]
            return o
        if isinstance(v, list):
            l = [s.val(x, key, parent) for x in v]
            if key in ('resourceRules', 'nonResourceRules') and isinstance(parent, dict) and 'incomplete' in parent: l.sort(key=lambda r: json.dumps(r, sort_keys=True))
            if key == 'managedFields': l.sort(key=mfkey) # the server's order depends on whether two writes fell into the same second
            return l
        if isinstance(v, str):
            if key == 'resourceVersion':
                if v in ('', '0') or not v.isdigit() or s.islit('"resourceVersion": "%s"' % v): return v
                return '<rv>' if listmeta else s.num('rv', v)
            if key == 'continue' and v: return '<continue>'
            if key == 'serverAddress': return '<server>'
            if key == 'jwks_uri': return re.sub(r'//[^/]+/', '//<server>/', v)
            if key == 'certificate' and v and not s.islit(v): return '<cert>'
            return s.text(v)
        if isinstance(v, int) and not isinstance(v, bool):
            if key in ('nodePort', 'healthCheckNodePort') and v and not s.islit(str(v)): return '<nodePort>'
        return v
    def wire(s, t):
        if isinstance(t, list):
            return [[f, s.wire(v)] for f, v in t]
        if isinstance(t, dict): return {k: s.wire(v) for k, v in t.items()}
        if isinstance(t, str):
            if t.isdigit() and len(t) >= 2: return '<rv?>' if not s.islit('"%s"' % t) else t
            return s.text(t)
        if isinstance(t, int) and t > 1700000000: return '<secs>'
        return t

# ---------------------------------------------------------------- cases
CASES = []
def case(group, cid, *steps, ns='shared', sort_causes=False, lit=''):
    st = []
    for x in steps: st.extend(x) if isinstance(x, list) else st.append(x)
    CASES.append(dict(group=group, id=cid, steps=st, ns=ns, sort_causes=sort_causes, lit=lit))
def R(m, p, b=None, h=None, ct=None, acc=None, tok='admin', rec=True, hdrs=None, proj=None, save=None, keep=False):
    return dict(op='req', m=m, p=p, b=b, h=dict(h or {}), ct=ct, acc=acc, tok=tok, rec=rec, hdrs=hdrs, proj=proj, save=save, keep=keep)
def GET(p, **k): return R('GET', p, **k)
def POST(p, b, **k): return R('POST', p, b, **k)
def PUT(p, b, **k): return R('PUT', p, b, **k)
def DEL(p, b=None, **k): return R('DELETE', p, b, **k)
def PATCH(p, b, ct, **k): return R('PATCH', p, b, ct=ct, **k)
def APPLY(p, b, mgr='m1', force=None, **k):
    q = ('&' if '?' in p else '?') + 'fieldManager=' + mgr + ('' if force is None else '&force=' + force) if mgr is not None else ''
    return R('PATCH', p + q, b, ct=AP, **k)
def W(wid, p, acc=None, tok='admin'): return dict(op='watch', id=wid, p=p, acc=acc, tok=tok)
def WE(wid, n=None, secs=4): return dict(op='watchend', id=wid, n=n, secs=secs)
def WAIT(p, pred, secs=10, rec=False, proj=None, acc=None): return dict(op='wait', p=p, pred=pred, secs=secs, rec=rec, proj=proj, acc=acc)
def PBGET(p): return dict(op='pbget', p=p)
def PBWATCH(p, n): return dict(op='pbwatch', p=p, n=n)
def SLEEP(t): return dict(op='sleep', t=t)
def DO(f): return dict(op='do', f=f)

KINDS = {}
def _k(gv, rows):
    for kind, plural, nsd in rows: KINDS[kind if kind not in KINDS else kind + '@' + gv] = (gv, plural, nsd)
_k('v1', [('Pod', 'pods', 1), ('Service', 'services', 1), ('ReplicationController', 'replicationcontrollers', 1), ('PersistentVolumeClaim', 'persistentvolumeclaims', 1),
 ('PersistentVolume', 'persistentvolumes', 0), ('Endpoints', 'endpoints', 1), ('Event', 'events', 1), ('LimitRange', 'limitranges', 1), ('ResourceQuota', 'resourcequotas', 1),
 ('ServiceAccount', 'serviceaccounts', 1), ('Secret', 'secrets', 1), ('ConfigMap', 'configmaps', 1), ('Namespace', 'namespaces', 0), ('Node', 'nodes', 0), ('PodTemplate', 'podtemplates', 1), ('Binding', 'bindings', 1)])
_k('apps/v1', [('Deployment', 'deployments', 1), ('StatefulSet', 'statefulsets', 1), ('DaemonSet', 'daemonsets', 1), ('ReplicaSet', 'replicasets', 1), ('ControllerRevision', 'controllerrevisions', 1)])
_k('batch/v1', [('Job', 'jobs', 1), ('CronJob', 'cronjobs', 1)])
_k('networking.k8s.io/v1', [('Ingress', 'ingresses', 1), ('IngressClass', 'ingressclasses', 0), ('NetworkPolicy', 'networkpolicies', 1), ('ServiceCIDR', 'servicecidrs', 0), ('IPAddress', 'ipaddresses', 0)])
_k('autoscaling/v2', [('HorizontalPodAutoscaler', 'horizontalpodautoscalers', 1)])
_k('autoscaling/v1', [('HorizontalPodAutoscaler', 'horizontalpodautoscalers', 1)])
_k('policy/v1', [('PodDisruptionBudget', 'poddisruptionbudgets', 1)])
_k('rbac.authorization.k8s.io/v1', [('Role', 'roles', 1), ('RoleBinding', 'rolebindings', 1), ('ClusterRole', 'clusterroles', 0), ('ClusterRoleBinding', 'clusterrolebindings', 0)])
_k('apiextensions.k8s.io/v1', [('CustomResourceDefinition', 'customresourcedefinitions', 0)])
_k('apiregistration.k8s.io/v1', [('APIService', 'apiservices', 0)])
_k('admissionregistration.k8s.io/v1', [(k, k.lower() + 's', 0) for k in ('MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration', 'ValidatingAdmissionPolicyBinding', 'MutatingAdmissionPolicyBinding')] +
  [('ValidatingAdmissionPolicy', 'validatingadmissionpolicies', 0), ('MutatingAdmissionPolicy', 'mutatingadmissionpolicies', 0)])
_k('scheduling.k8s.io/v1', [('PriorityClass', 'priorityclasses', 0)])
_k('node.k8s.io/v1', [('RuntimeClass', 'runtimeclasses', 0)])
_k('storage.k8s.io/v1', [('StorageClass', 'storageclasses', 0), ('CSIDriver', 'csidrivers', 0), ('CSINode', 'csinodes', 0), ('VolumeAttachment', 'volumeattachments', 0), ('VolumeAttributesClass', 'volumeattributesclasses', 0), ('CSIStorageCapacity', 'csistoragecapacities', 1)])
_k('coordination.k8s.io/v1', [('Lease', 'leases', 1)])
_k('discovery.k8s.io/v1', [('EndpointSlice', 'endpointslices', 1)])
_k('events.k8s.io/v1', [('Event', 'events', 1)])
_k('flowcontrol.apiserver.k8s.io/v1', [('FlowSchema', 'flowschemas', 0), ('PriorityLevelConfiguration', 'prioritylevelconfigurations', 0)])
_k('certificates.k8s.io/v1', [('CertificateSigningRequest', 'certificatesigningrequests', 0)])
_k('resource.k8s.io/v1', [('ResourceClaim', 'resourceclaims', 1), ('ResourceClaimTemplate', 'resourceclaimtemplates', 1), ('DeviceClass', 'deviceclasses', 0), ('ResourceSlice', 'resourceslices', 0)])
_k('authentication.k8s.io/v1', [('TokenReview', 'tokenreviews', 0), ('SelfSubjectReview', 'selfsubjectreviews', 0)])
_k('authorization.k8s.io/v1', [('SubjectAccessReview', 'subjectaccessreviews', 0), ('SelfSubjectAccessReview', 'selfsubjectaccessreviews', 0), ('LocalSubjectAccessReview', 'localsubjectaccessreviews', 1), ('SelfSubjectRulesReview', 'selfsubjectrulesreviews', 0)])

def gvpath(gv): return '/api/v1' if gv == 'v1' else '/apis/' + gv
def P(kind, name=None, sub=None, ns='$NS'):
    gv, plural, nsd = KINDS[kind]
    p = gvpath(gv) + ('/namespaces/' + ns if nsd else '') + '/' + plural
    if name: p += '/' + name
    if sub: p += '/' + sub
    return p
def O(kind, name, meta=None, **kw):
    o = {'apiVersion': KINDS[kind][0], 'kind': kind.split('@')[0], 'metadata': dict({'name': name} if name is not None else {}, **(meta or {}))}
    o.update(kw); return o
def merge(base, **over):
    o = copy.deepcopy(base)
    for k, v in over.items():
        if v is None: o.pop(k, None)
        else: o[k] = v
    return o
def setp(o, path, v):
    """copy of o with the dotted path set (numbers index lists, '+' appends); None deletes"""
    o = copy.deepcopy(o); cur = o; ks = path.split('.')
    for k in ks[:-1]:
        if isinstance(cur, list): cur = cur[int(k)]
        else:
            if k not in cur: cur[k] = {}
            cur = cur[k]
    k = ks[-1]
    if isinstance(cur, list):
        if k == '+': cur.append(v)
        elif v is None: del cur[int(k)]
        else: cur[int(k)] = v
    elif v is None: cur.pop(k, None)
    else: cur[k] = v
    return o
def sets(o, *pv):
    for i in range(0, len(pv), 2): o = setp(o, pv[i], pv[i + 1])
    return o
CTR = {'name': 'c', 'image': 'img:1'}
def pod(name='p', spec=None, meta=None, **c):
    return O('Pod', name, meta, spec=dict({'containers': [dict(CTR, **c)]}, **(spec or {})))
def tmpl(lbl='x', spec=None, **c):
    return {'metadata': {'labels': {'app': lbl}}, 'spec': dict({'containers': [dict(CTR, **c)]}, **(spec or {}))}
SEL = {'matchLabels': {'app': 'x'}}
def cm(name='c', data=None, meta=None, **k): return O('ConfigMap', name, meta, **dict({'data': data if data is not None else {'k': 'v'}}, **k))

# ---------------------------------------------------------------- runner
KEEP_HEADERS = ('content-type', 'warning', 'etag', 'cache-control', 'location', 'allow', 'retry-after', 'www-authenticate', 'last-modified')
class Ctx:
    def __init__(s, cli, ns): s.cli, s.ns, s.r, s.saved, s.watches, s.created, s.vectors = cli, ns, [], {}, {}, [], []
    def sub(s, t):
        t = t.replace('$NS', s.ns or 'default')
        return re.sub(r'\$\{(\w+)\}', lambda m: str(s.saved.get(m.group(1), m.group(0))), t)
    @property
    def last(s): return s.r[-1].json

class Watch(threading.Thread):
    def __init__(s, cli, path, acc, tok):
        super().__init__(daemon=True); s.frames, s.done, s.status, s.hdr, s.err = [], False, None, [], None
        s.conn = cli.connect(timeout=30); s.ready = threading.Event()
        s.args = (path, cli.headers({'Accept': acc} if acc else None, tok))
    def run(s):
        try:
            s.conn.request('GET', s.args[0], headers=s.args[1]); r = s.conn.getresponse()
            s.status, s.hdr = r.status, r.getheaders(); s.ready.set(); s.r = r
            while True:
                l = r.readline()
                if not l: break
                if l.strip(): s.frames.append(l)
        except Exception as e: s.err = type(e).__name__
        s.done = True; s.ready.set()

def periodic(l): return b'"type":"BOOKMARK"' in l and b'initial-events-end' not in l
def nsname(c):
    if c['ns'] is None: return None
    return ('kg-' + c['group']) if c['ns'] == 'shared' else 'kg-' + c['group'] + '-' + re.sub(r'[^a-z0-9-]', '-', c['id'].lower())[:40]

def ns_strip(cli, n):
    """pods without a kubelet and claims without their controller would keep a namespace from going away"""
    cli.do('DELETE', '/api/v1/namespaces/%s/pods?gracePeriodSeconds=0' % n)
    b = '/api/v1/namespaces/%s/persistentvolumeclaims' % n
    for i in (cli.do('GET', b).json or {}).get('items') or []:
        cli.do('PATCH', b + '/' + i['metadata']['name'], b'{"metadata":{"finalizers":null}}', {'Content-Type': MP}); cli.do('DELETE', b + '/' + i['metadata']['name'])
def ns_gone(cli, n, secs=40):
    t0 = time.time(); fin = forced = False
    while True:
        r = cli.do('GET', '/api/v1/namespaces/' + n)
        if r.status == 404:
            if not forced: ns_strip(cli, n)
            return
        if not forced: forced = True; ns_strip(cli, n)
        ph = ((r.json or {}).get('status') or {}).get('phase')
        if ph != 'Terminating': cli.do('DELETE', '/api/v1/namespaces/' + n)
        elif time.time() - t0 > secs and not fin:
            fin = True; o = r.json; o['spec']['finalizers'] = []
            cli.do('PUT', '/api/v1/namespaces/%s/finalize' % n, json.dumps(o).encode(), {'Content-Type': JSONCT})
        if time.time() - t0 > secs + 20: print('namespace', n, 'does not go away', file=sys.stderr); return
        time.sleep(0.1)
def ns_make(cli, n, labels=None):
    ns_gone(cli, n)
    cli.do('POST', '/api/v1/namespaces', json.dumps({'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': n, 'labels': labels or {}}}).encode(), {'Content-Type': JSONCT})
    for _ in range(100):
        if cli.do('GET', '/api/v1/namespaces/%s/serviceaccounts/default' % n).status == 200 and \
           cli.do('GET', '/api/v1/namespaces/%s/configmaps/kube-root-ca.crt' % n).status == 200: return
        time.sleep(0.1)
    cli.do('POST', '/api/v1/namespaces/%s/serviceaccounts' % n, b'{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}', {'Content-Type': JSONCT})

def enc(b, ctx):
    if callable(b): b = b(ctx)
    if b is None or isinstance(b, bytes): return b, b
    if isinstance(b, str):
        t = ctx.sub(b); return t.encode(), t
    t = ctx.sub(json.dumps(b)); return t.encode(), json.loads(t)

def hdrs_of(r, norm, which):
    o = {}
    for k, v in r.headers:
        k = k.lower()
        if which == 'all' or k in KEEP_HEADERS:
            if k == 'etag': v = '<etag>' if which != 'all' or True else v
            elif k in ('date', 'audit-id', 'x-kubernetes-pf-flowschema-uid', 'x-kubernetes-pf-prioritylevel-uid', 'content-length', 'last-modified', 'expires'): v = '<present>'
            else: v = norm.text(v)
            if k == 'warning': o.setdefault(k, []).append(v)
            elif k in o: o[k] = (o[k] if isinstance(o[k], list) else [o[k]]) + [v]
            else: o[k] = v
    return o

def find_path(created, p): return p.split('?')[0]

def fixcauses(v):
    if isinstance(v, dict):
        if v.get('kind') == 'Status' and isinstance(v.get('details'), dict) and isinstance(v['details'].get('causes'), list):
            v['details']['causes'].sort(key=lambda c: json.dumps(c, sort_keys=True))
            m = v.get('message', '')
            if '[' in m and m.endswith(']'):
                pre, body = m.split('[', 1)
                v['message'] = pre + '[' + ', '.join(sorted(c['field'] + ': ' + c['message'] for c in v['details']['causes'])) + ']'
    return v

def run_case(cli, c):
    ns = nsname(c)
    if c['ns'] == 'own': ns_make(cli, ns)
    ctx = Ctx(cli, ns)
    lits = [c['lit']]
    for st in c['steps']:
        if st['op'] == 'req':
            b = st['b']
            if isinstance(b, (dict, list)): lits.append(ctx.sub(json.dumps(b)))
            elif isinstance(b, str): lits.append(b)
            if isinstance(st['p'], str): lits.append(st['p'])
        elif 'p' in st and isinstance(st['p'], str): lits.append(st['p'])
    norm = Norm('\n'.join(lits)); ctx.norm = norm
    # leftovers of an earlier run, cluster scope only
    for st in c['steps']:
        if st['op'] == 'req' and st['m'] in ('POST', 'PATCH', 'PUT') and isinstance(st['p'], str) and '/namespaces/$NS' not in st['p']:
            p = st['p'].split('?')[0]
            if st['m'] == 'POST' and isinstance(st['b'], dict):
                n = (st['b'].get('metadata') or {}).get('name')
                if isinstance(n, str) and (n.startswith('kg-') or n.endswith('.example.com')) and re.fullmatch(r'[a-z0-9.-]+', n): remove(cli, ctx.sub(p) + '/' + ctx.sub(n))
            elif st['m'] == 'PATCH' and re.search(r'/kg-[a-z0-9.-]+$', p): remove(cli, ctx.sub(p))
    out = []
    try:
        for st in c['steps']:
            run_step(cli, ctx, st, norm, out)
    except Exception as e:
        out.append({'recorderError': type(e).__name__ + ': ' + norm.text(str(e))})
        print('  !!', c['group'], c['id'], type(e).__name__, e, file=sys.stderr)
    for w in ctx.watches.values():
        try: w.conn.sock and w.conn.sock.shutdown(socket.SHUT_RDWR)
        except Exception: pass
    if c['ns'] == 'own':
        cli.do('DELETE', '/api/v1/namespaces/%s/pods?gracePeriodSeconds=0' % ns)
        ns_strip(cli, ns)
    for p in reversed(ctx.created): remove(cli, p)
    if c['ns'] == 'own': cli.do('DELETE', '/api/v1/namespaces/' + ns)
    if c['sort_causes']:
        for s in out:
            if 'response' in s: fixcauses(s['response'].get('body'))
    return out, ctx.vectors

def remove(cli, p):
    if re.fullmatch(r'/api/v1/namespaces/[^/]+', p): return ns_gone(cli, p.rsplit('/', 1)[1])
    r = cli.do('DELETE', p + '?gracePeriodSeconds=0&propagationPolicy=Background')
    if r.status == 404: return
    if '/customresourcedefinitions/' in p or (r.json or {}).get('metadata', {}).get('finalizers') or r.status == 202 or (r.json or {}).get('kind') != 'Status':
        for i in range(100):
            r = cli.do('GET', p)
            if r.status == 404: return
            fin = (r.json or {}).get('metadata', {}).get('finalizers') or []
            if fin and not fin[0].startswith('customresourcecleanup'):
                cli.do('PATCH', p, b'{"metadata":{"finalizers":null}}', {'Content-Type': MP})
            if not (r.json or {}).get('metadata', {}).get('deletionTimestamp'): cli.do('DELETE', p + '?gracePeriodSeconds=0')
            time.sleep(0.03)

def run_step(cli, ctx, st, norm, out):
    op = st['op']
    if op == 'sleep': time.sleep(st['t']); return
    if op == 'do': st['f'](ctx); return
    p = st.get('p')
    if callable(p): p = p(ctx)
    if p: p = ctx.sub(p)
    if op == 'req':
        h = dict(st['h'])
        raw, shown = enc(st['b'], ctx)
        if st['acc']: h['Accept'] = st['acc']
        if st['ct']: h['Content-Type'] = st['ct']
        elif raw is not None and 'Content-Type' not in h: h['Content-Type'] = JSONCT
        tok = ctx.sub(st['tok']) if st['tok'] else st['tok']
        for k in list(h):
            if isinstance(h[k], str): h[k] = ctx.sub(h[k])
        r = cli.do(st['m'], p, raw, h, tok)
        ctx.r.append(r)
        if st['save']: st['save'](ctx, r)
        # what was made, for the clean-up
        if r.status == 201 and not st['keep'] and 'dryRun' not in p and isinstance(r.json, dict):
            n = (r.json.get('metadata') or {}).get('name')
            bp = p.split('?')[0]
            if st['m'] == 'POST' and n and not re.search(r'/(token|eviction|binding|approval)$', bp): ctx.created.append(bp + '/' + n)
            elif st['m'] in ('PATCH', 'PUT'): ctx.created.append(bp)
        if not st['rec']: return
        norm.learn(r.json)
        req = {'method': st['m'], 'path': norm.text(re.sub(r'(continue=)[^&]+', r'\1<continue>', re.sub(r'(resourceVersion=)(\d{3,})\b', lambda m: m.group(0) if norm.islit(m.group(0)) else m.group(1) + '<rv>', p)))}
        hh = {k: norm.text(v) if isinstance(v, str) else v for k, v in h.items()}
        if st['tok'] != 'admin': hh['Authorization'] = '<other user>' if tok else None
        req['headers'] = hh
        if shown is not None:
            if isinstance(shown, bytes): shown = {'$bytes': len(shown)}
            if isinstance(shown, str) and len(shown) > 4000: shown = {'$text': len(shown)}
            elif isinstance(shown, (dict, list)) and len(raw) > 60000: shown = {'$json': len(raw)}
            req['body'] = norm.val(shown)
        body = r.json
        if st['proj']: body = st['proj'](body if body is not None else r.raw.decode('utf-8', 'replace'))
        elif body is None:
            if (r.h('content-type') or '').startswith(PB) or r.raw[:4] == b'k8s\0':
                try: body = {'$protobuf': norm.wire(pb_tree(r.raw[4:]))}
                except ValueError: body = {'$undecodable': len(r.raw)}
                out.append({'request': req, 'response': {'status': r.status, 'headers': hdrs_of(r, norm, st['hdrs']), 'body': body}}); return
            body = r.raw.decode('utf-8', 'replace')
        out.append({'request': req, 'response': {'status': r.status, 'headers': hdrs_of(r, norm, st['hdrs']), 'body': norm.val(body)}})
    elif op == 'wait':
        t0 = time.time(); ok = False
        while time.time() - t0 < st['secs']:
            r = cli.do('GET', p, headers={'Accept': st['acc']} if st['acc'] else None)
            try: ok = bool(st['pred'](r))
            except Exception: ok = False
            if ok: break
            time.sleep(0.05)
        ctx.r.append(r)
        if st['rec'] or not ok:
            norm.learn(r.json)
            b = r.json if r.json is not None else r.raw.decode('utf-8', 'replace')
            out.append({'wait': norm.text(p), 'satisfied': ok, 'response': {'status': r.status, 'body': norm.val(st['proj'](b) if st['proj'] else b)}})
    elif op == 'watch':
        w = Watch(cli, p, st['acc'], st['tok'] if st['tok'] == 'admin' else ctx.sub(st['tok'])); ctx.watches[st['id']] = w; w.path = p; w.start(); w.ready.wait(5)
    elif op == 'watchend':
        w = ctx.watches[st['id']]; t0 = time.time()
        while time.time() - t0 < st['secs'] and not w.done and (st['n'] is None or sum(1 for l in list(w.frames) if not periodic(l)) < st['n']): time.sleep(0.02)
        if st['n'] is not None and not w.done: time.sleep(0.15)
        ended = w.done
        try: w.conn.sock and w.conn.sock.shutdown(socket.SHUT_RDWR)
        except Exception: pass
        fr = []; src = [l for l in list(w.frames) if not periodic(l)]
        if w.status != 200: src = [b''.join(src)]
        for l in src:
            try: j = json.loads(l)
            except Exception: fr.append({'$text': norm.text(l.decode('utf-8', 'replace'))}); continue
            norm.learn(j); fr.append(norm.val(j))
        ph = re.sub(r'(resourceVersion=)(\d{3,})\b', lambda m: m.group(0) if norm.islit(m.group(0)) else m.group(1) + '<rv>', w.path)
        out.append({'watch': norm.text(ph), 'status': w.status, 'contentType': next((v for k, v in w.hdr if k.lower() == 'content-type'), None),
                    'endedByServer': ended, 'frames': fr})
    elif op == 'pbget':
        j = cli.do('GET', p); r = cli.do('GET', p, headers={'Accept': PB})
        ctx.r.append(j)
        try: t = norm.wire(pb_tree(r.raw[4:]))
        except ValueError: t = 'undecodable'
        norm.learn(j.json)
        out.append({'protobuf': norm.text(p), 'status': r.status, 'contentType': r.h('content-type'), 'magic': r.raw[:4].decode('latin1'), 'wire': t, 'json': norm.val(j.json)})
        ctx.vectors.append({'path': p, 'json': j.json, 'protobuf': base64.b64encode(r.raw).decode()})
        ctx.pb = r.raw
    elif op == 'pbwatch':
        hd = cli.headers({'Accept': PB + ';stream=watch,' + PB}, 'admin'); c2 = cli.connect(timeout=10)
        c2.request('GET', p, headers=hd); r = c2.getresponse(); fr = []
        c3 = cli.connect(timeout=10); c3.request('GET', p, headers=cli.headers(None, 'admin')); r3 = c3.getresponse()
        for _ in range(st['n']):
            ln = struct.unpack('>I', r.read(4))[0]; raw = r.read(ln); js = json.loads(r3.readline())
            try: t = norm.wire(pb_tree(raw[4:] if raw[:4] == b'k8s\0' else raw))
            except ValueError: t = 'undecodable'
            fr.append({'magic': raw[:4] == b'k8s\0', 'wire': t})
            ctx.vectors.append({'path': p, 'frame': base64.b64encode(raw).decode(), 'json': js})
        c2.close(); c3.close()
        out.append({'protobufWatch': norm.text(p), 'status': r.status, 'contentType': r.getheader('content-type'), 'frames': fr})

# ---------------------------------------------------------------- group: discovery
GVS = ['apiregistration.k8s.io/v1', 'apps/v1', 'events.k8s.io/v1', 'authentication.k8s.io/v1', 'authorization.k8s.io/v1', 'autoscaling/v2', 'autoscaling/v1', 'batch/v1',
       'certificates.k8s.io/v1', 'networking.k8s.io/v1', 'policy/v1', 'rbac.authorization.k8s.io/v1', 'storage.k8s.io/v1', 'admissionregistration.k8s.io/v1', 'apiextensions.k8s.io/v1',
       'scheduling.k8s.io/v1', 'coordination.k8s.io/v1', 'node.k8s.io/v1', 'discovery.k8s.io/v1', 'resource.k8s.io/v1', 'flowcontrol.apiserver.k8s.io/v1']
D = 'discovery'
def nover(b):
    return {k: (v if k in ('major', 'minor', 'emulationMajor', 'emulationMinor', 'minCompatibilityMajor', 'minCompatibilityMinor') else '<%s>' % type(v).__name__) for k, v in b.items()}
case(D, 'version', GET('/version', proj=nover), GET('/version/', proj=lambda b: type(b).__name__), ns=None)
case(D, 'api-legacy', GET('/api'), GET('/api/'), GET('/api', acc='*/*'), GET('/api', acc=None, h={'Accept': None}), GET('/api', acc='application/yaml'), ns=None)
case(D, 'apis-legacy', GET('/apis'), GET('/apis/'), GET('/apis', acc='application/yaml'), ns=None)
case(D, 'api-aggregated', GET('/api', acc=AGG), ns=None)
case(D, 'apis-aggregated', GET('/apis', acc=AGG), ns=None)
case(D, 'aggregated-accept', *[GET('/apis', acc=x, proj=lambda b: [b.get('kind'), b.get('apiVersion')] if isinstance(b, dict) else b) for x in (
    'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList', 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
    'application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,application/json', 'application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList',
    'application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList', 'application/json, application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
    'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;q=0.5,application/json;q=0.9', 'text/html', 'application/*', 'text/html,application/json', '*/*;q=0.8')],
    R('HEAD', '/apis'), R('HEAD', '/api', acc=AGG), ns=None)
def savetag(c, r): c.saved['etag'] = r.h('etag') or ''
case(D, 'etag-304', GET('/apis', acc=AGG, save=savetag, proj=lambda b: 'not stored'), GET('/apis', acc=AGG, h={'If-None-Match': '${etag}'}, hdrs='all'),
     GET('/apis', acc=AGG, h={'If-None-Match': '"nope"'}, proj=lambda b: b.get('kind')), GET('/apis', h={'If-None-Match': '${etag}'}, proj=lambda b: b.get('kind')),
     GET('/api', acc=AGG, save=savetag, proj=lambda b: b.get('kind')), GET('/api', acc=AGG, h={'If-None-Match': '${etag}'}), ns=None, lit='"nope"')
case(D, 'api-v1', GET('/api/v1'), GET('/api/v1/', proj=lambda b: len(b['resources']) if 'resources' in b else b), GET('/api/v1', acc='application/yaml', proj=lambda b: b[:60]), ns=None)
for gv in GVS: case(D, 'apis-' + gv.replace('/', '-'), GET('/apis/' + gv), GET('/apis/' + gv.split('/')[0]), ns=None)
case(D, 'unknown-paths', *[GET(p) for p in ('/apis/nope.example.com', '/apis/nope.example.com/v1', '/apis/nope.example.com/v1/things', '/apis/apps/v9', '/apis/apps/v9/deployments', '/apis/apps/v1beta1', '/api/v2',
     '/api/v2/pods', '/api/v1/nopes', '/api/v1/namespaces/default/nopes', '/api/v1/namespaces/default/nopes/x', '/api/v1/namespaces/default/pods/x/nope', '/apis/apps/v1/nopes', '/nope', '/apisx', '/API/v1', '/api/v1/namespaces/default/nodes',
     '/apis/autoscaling/v2beta2', '/apis/policy/v1beta1', '/apis/extensions', '/apis/apps//v1', '/api/v1//pods', '/api//v1')],
     POST('/apis/nope.example.com/v1/things', {}), DEL('/nope'), PUT('/apis/apps/v1', {}), R('OPTIONS', '/nope'), ns=None)
case(D, 'root', GET('/'), GET('/', acc='text/html'), ns=None)
case(D, 'health', *[GET(p) for p in ('/healthz', '/livez', '/readyz', '/healthz/ping', '/livez/ping', '/readyz/ping', '/healthz/etcd', '/healthz/nope', '/livez?exclude=etcd', '/readyz?exclude=nope')],
     GET('/livez?verbose', proj=lambda b: 'text of %d lines' % min(b.count('\n'), 1)), R('HEAD', '/healthz'), POST('/healthz', {}), ns=None)
case(D, 'metrics-logs', GET('/metrics', proj=lambda b: b.startswith('# HELP')), GET('/logs', proj=lambda b: type(b).__name__ if not isinstance(b, dict) or b.get('kind') != 'Status' else b), GET('/.well-known/openid-configuration'), GET('/openid/v1/jwks'), GET('/openid/v1/jwks', acc='application/jwk-set+json', proj=lambda b: {k: [sorted(x) for x in v] if isinstance(v, list) else v for k, v in b.items()} if isinstance(b, dict) else b), ns=None)
case(D, 'openapi-v3-index', GET('/openapi/v3', acc='application/json, */*'), GET('/openapi/v3', acc='application/yaml', proj=lambda b: b if isinstance(b, dict) else len(b) > 0), GET('/openapi/v3/', proj=lambda b: type(b).__name__), GET('/openapi/v3/apis/nope/v1'), ns=None)
def strip(v):
    if isinstance(v, dict): return {k: strip(x) for k, x in v.items() if not (k == 'description' and isinstance(x, str))}
    return [strip(x) for x in v] if isinstance(v, list) else v
def oa3(b):
    if not isinstance(b, dict) or 'paths' not in b: return b
    ps = {}
    for p, v in b['paths'].items():
        ps[p] = {m: [o.get('operationId'), o.get('x-kubernetes-action'), (o.get('x-kubernetes-group-version-kind') or {}).get('kind'),
                     [q.get('name') or q.get('$ref') for q in o.get('parameters', [])], sorted(((o.get('requestBody') or {}).get('content') or {})),
                     {s: sorted(x.get('content', {})) for s, x in o.get('responses', {}).items()}]
                 for m, o in v.items() if isinstance(o, dict)}
        if 'parameters' in v: ps[p]['parameters'] = [q.get('name') for q in v['parameters']]
    return {'openapi': b.get('openapi'), 'info': {k: '<str>' for k in b.get('info', {})}, 'paths': ps, 'schemas': strip((b.get('components') or {}).get('schemas')), 'securitySchemes': (b.get('components') or {}).get('securitySchemes')}
for gv in ['api/v1', 'api', 'apis', 'version'] + ['apis/' + g for g in GVS]:
    case('openapi', 'v3-' + gv.replace('/', '-'), GET('/openapi/v3/' + gv, proj=oa3), ns=None)
def oa2(b): return {'swagger': b.get('swagger'), 'paths': sorted(b['paths']), 'definitions': {k: [v.get('x-kubernetes-group-version-kind'), sorted(v.get('properties', {})), v.get('required'), v.get('type')] for k, v in b['definitions'].items()}, 'parameters': sorted(b.get('parameters', {})), 'top': sorted(b)}
case('openapi', 'v2', GET('/openapi/v2', proj=oa2, save=savetag), GET('/openapi/v2', h={'If-None-Match': '${etag}'}), GET('/openapi/v2', acc='application/com.github.proto-openapi.spec.v2@v1.0+protobuf', proj=lambda b: 'protobuf'),
     GET('/openapi/v2', acc='application/com.github.proto-openapi.spec.v2.v1.0+protobuf', proj=lambda b: 'protobuf'), GET('/openapi/v2', acc='application/yaml', proj=lambda b: b if len(str(b)) < 500 else type(b).__name__), GET('/swagger.json'), ns=None)
def savehash(c, r): c.saved['url'] = r.json['paths']['apis/batch/v1']['serverRelativeURL']
case('openapi', 'v3-hash', GET('/openapi/v3', save=savehash, proj=lambda b: b['paths']['apis/batch/v1']), GET('${url}', proj=lambda b: b.get('openapi'), hdrs='all'), GET('/openapi/v3/apis/batch/v1?hash=00', proj=lambda b: b if not isinstance(b, dict) else b.get('openapi'), hdrs='all'),
     GET('/openapi/v3/apis/batch/v1', acc='application/com.github.proto-openapi.spec.v3.v1.0+protobuf', proj=lambda b: 'protobuf'), ns=None)

# ---------------------------------------------------------------- group: defaulting
DF = 'defaulting'
def dcase(cid, kind, o, table=True, extra=(), **k):
    n = o['metadata'].get('name')
    st = [POST(P(kind), o)]
    if kind == 'FlowSchema': st.append(SLEEP(0.6)) # its Dangling condition is written a moment later
    if table and n: st += [GET(P(kind, n), acc=TABLE_ONLY), GET(P(kind, n), acc=POM)]
    case(DF, cid, *st, *extra, **k)
PROBE = {'httpGet': {'path': '/h', 'port': 80}}
dcase('pod-minimal', 'Pod', pod())
dcase('pod-ports', 'Pod', pod(ports=[{'containerPort': 80}, {'containerPort': 53, 'protocol': 'UDP', 'name': 'dns'}, {'containerPort': 443, 'hostPort': 8443}]), False)
dcase('pod-hostnetwork', 'Pod', pod(spec={'hostNetwork': True}, ports=[{'containerPort': 80}]), False)
dcase('pod-probes', 'Pod', pod(livenessProbe=PROBE, readinessProbe={'tcpSocket': {'port': 'http'}, 'periodSeconds': 3}, startupProbe={'exec': {'command': ['x']}}, ports=[{'containerPort': 80, 'name': 'http'}],
      lifecycle={'postStart': {'exec': {'command': ['a']}}, 'preStop': {'httpGet': {'port': 80}}}), False)
dcase('pod-probes2', 'Pod', pod(livenessProbe={'grpc': {'port': 9}}, readinessProbe={'httpGet': {'port': 'x', 'scheme': 'HTTPS', 'httpHeaders': [{'name': 'A', 'value': 'b'}]}}, lifecycle={'preStop': {'sleep': {'seconds': 3}}}), False)
dcase('pod-imagepull', 'Pod', O('Pod', 'p', spec={'containers': [{'name': 'a', 'image': 'img'}, {'name': 'b', 'image': 'img:latest'}, {'name': 'c', 'image': 'img:1'}, {'name': 'd', 'image': 'r.io:5000/a/b@sha256:' + '0' * 64}, {'name': 'e', 'image': 'r.io/x:v2', 'imagePullPolicy': 'Never'}],
      'initContainers': [{'name': 'i', 'image': 'img'}, {'name': 's', 'image': 'img:1', 'restartPolicy': 'Always'}]}), False)
dcase('pod-resources', 'Pod', pod(resources={'limits': {'cpu': '0.5', 'memory': '1.5Gi', 'ephemeral-storage': '1e9'}}), False)
dcase('pod-resources2', 'Pod', pod(resources={'limits': {'cpu': '1500m', 'memory': '128974848'}, 'requests': {'cpu': '1', 'memory': '123Mi'}}), False)
dcase('pod-resources3', 'Pod', pod(resources={'requests': {'cpu': '100m', 'example.com/dev': '2', 'hugepages-2Mi': '4Mi', 'memory': '1024Ki'}, 'limits': {'example.com/dev': '2', 'hugepages-2Mi': '4Mi'}}), False)
dcase('pod-level-resources', 'Pod', pod(spec={'resources': {'limits': {'cpu': '2', 'memory': '1Gi'}}}, resources={'requests': {'cpu': '100m'}}), False)
dcase('pod-resize-policy', 'Pod', pod(resources={'requests': {'cpu': '1'}}, resizePolicy=[{'resourceName': 'memory', 'restartPolicy': 'RestartContainer'}]), False)
VOLS = {'emptyDir': {}, 'emptyDir2': ('emptyDir', {'medium': 'Memory', 'sizeLimit': '64Mi'}), 'hostPath': {'path': '/x'}, 'hostPath2': ('hostPath', {'path': '/x', 'type': 'DirectoryOrCreate'}), 'configMap': {'name': 'm'},
  'configMap2': ('configMap', {'name': 'm', 'items': [{'key': 'k', 'path': 'p/q', 'mode': 256}], 'optional': True, 'defaultMode': 292}), 'secret': {'secretName': 's'}, 'downwardAPI': {'items': [{'path': 'l', 'fieldRef': {'fieldPath': 'metadata.labels'}}, {'path': 'c', 'resourceFieldRef': {'containerName': 'c', 'resource': 'limits.cpu'}}]},
  'projected': {'sources': [{'serviceAccountToken': {'path': 't'}}, {'configMap': {'name': 'm'}}, {'secret': {'name': 's'}}, {'downwardAPI': {'items': [{'path': 'n', 'fieldRef': {'apiVersion': 'v1', 'fieldPath': 'metadata.name'}}]}}, {'clusterTrustBundle': {'name': 'b', 'path': 'ca'}}]},
  'persistentVolumeClaim': {'claimName': 'c'}, 'nfs': {'server': 'h', 'path': '/e'}, 'iscsi': {'targetPortal': '1.2.3.4', 'iqn': 'iqn.2001-04.com.example:storage.disk1', 'lun': 0}, 'csi': {'driver': 'd.example.com'}, 'image': {'reference': 'img:1'}, 'image2': ('image', {'reference': 'img'}),
  'ephemeral': {'volumeClaimTemplate': {'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': '1Gi'}}}}}, 'fc': {'targetWWNs': ['w'], 'lun': 1}, 'gcePersistentDisk': {'pdName': 'd'}, 'awsElasticBlockStore': {'volumeID': 'v'}, 'azureDisk': {'diskName': 'd', 'diskURI': 'https://x/d'},
  'azureFile': {'secretName': 's', 'shareName': 'h'}, 'cephfs': {'monitors': ['m']}, 'cinder': {'volumeID': 'v'}, 'rbd': {'monitors': ['m'], 'image': 'i'}, 'glusterfs': {'endpoints': 'e', 'path': 'p'}, 'flexVolume': {'driver': 'a/b'}, 'flocker': {'datasetName': 'd'}, 'gitRepo': {'repository': 'r'},
  'vsphereVolume': {'volumePath': 'p'}, 'quobyte': {'registry': 'h:1', 'volume': 'v'}, 'portworxVolume': {'volumeID': 'v'}, 'scaleIO': {'gateway': 'https://h', 'system': 's', 'secretRef': {'name': 'x'}, 'volumeName': 'v'}, 'storageos': {'volumeName': 'v'}, 'photonPersistentDisk': {'pdID': 'p'}}
for k, v in VOLS.items():
    key, val = v if isinstance(v, tuple) else (k, v)
    dcase('pod-vol-' + k, 'Pod', pod(spec={'automountServiceAccountToken': False, 'volumes': [{'name': 'v', key: val}]}, volumeMounts=[{'name': 'v', 'mountPath': '/m'}]), False)
dcase('pod-vol-none', 'Pod', pod(spec={'volumes': [{'name': 'v'}]}), False)
dcase('pod-env', 'Pod', pod(env=[{'name': 'A', 'value': ''}, {'name': 'B', 'valueFrom': {'fieldRef': {'fieldPath': 'status.podIP'}}}, {'name': 'C', 'valueFrom': {'resourceFieldRef': {'resource': 'requests.memory'}}}, {'name': 'D', 'valueFrom': {'configMapKeyRef': {'name': 'm', 'key': 'k'}}},
   {'name': 'E', 'valueFrom': {'secretKeyRef': {'name': 's', 'key': 'k', 'optional': True}}}, {'name': 'F'}], envFrom=[{'configMapRef': {'name': 'm'}, 'prefix': 'P_'}, {'secretRef': {'name': 's'}}], command=['sh'], args=['-c', 'x'], workingDir='/', tty=True, stdin=True, stdinOnce=True), False)
dcase('pod-security', 'Pod', pod(spec={'securityContext': {'runAsUser': 0, 'fsGroup': 5, 'supplementalGroups': [1], 'sysctls': [{'name': 'kernel.shm_rmid_forced', 'value': '0'}], 'seccompProfile': {'type': 'RuntimeDefault'}}}, securityContext={'privileged': True, 'capabilities': {'add': ['NET_ADMIN'], 'drop': ['ALL']}, 'procMount': 'Default', 'readOnlyRootFilesystem': True}), False)
dcase('pod-affinity', 'Pod', pod(spec={'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': [{'matchExpressions': [{'key': 'a', 'operator': 'In', 'values': ['b']}]}]}},
   'podAntiAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': 5, 'podAffinityTerm': {'topologyKey': 'z', 'labelSelector': SEL}}]}}, 'topologySpreadConstraints': [{'maxSkew': 1, 'topologyKey': 'z', 'whenUnsatisfiable': 'DoNotSchedule', 'labelSelector': SEL}],
   'tolerations': [{'key': 'k', 'operator': 'Exists'}, {'key': 'e', 'value': 'v', 'effect': 'NoExecute', 'tolerationSeconds': 5}], 'nodeSelector': {'d': 'e'}, 'schedulingGates': [{'name': 'g.example.com/x'}], 'dnsPolicy': 'None', 'dnsConfig': {'nameservers': ['1.2.3.4'], 'options': [{'name': 'ndots', 'value': '2'}]},
   'hostAliases': [{'ip': '1.2.3.4', 'hostnames': ['h']}], 'os': {'name': 'linux'}, 'readinessGates': [{'conditionType': 'x.example.com/y'}], 'shareProcessNamespace': True, 'hostname': 'h', 'subdomain': 's', 'setHostnameAsFQDN': False, 'activeDeadlineSeconds': 9, 'terminationGracePeriodSeconds': 0, 'restartPolicy': 'Never', 'serviceAccountName': 'default', 'enableServiceLinks': False, 'overhead': None, 'preemptionPolicy': 'PreemptLowerPriority', 'imagePullSecrets': [{'name': 'x'}], 'hostUsers': False}), True)
dcase('pod-generatename', 'Pod', O('Pod', None, {'generateName': 'gen-'}, spec={'containers': [CTR]}), False)
dcase('pod-critical', 'Pod', pod(spec={'priorityClassName': 'system-node-critical'}), False)
dcase('pod-status-ignored', 'Pod', merge(pod(), status={'phase': 'Running', 'podIP': '1.2.3.4'}), False)
dcase('pod-meta-ignored', 'Pod', O('Pod', 'p', {'uid': '00000000-0000-0000-0000-000000000001', 'creationTimestamp': '2020-01-01T00:00:00Z', 'selfLink': '/x', 'generation': 7, 'deletionTimestamp': '2020-01-01T00:00:00Z', 'deletionGracePeriodSeconds': 5, 'labels': {'a': 'b'}, 'annotations': {'c': 'd'}, 'finalizers': []}, spec={'containers': [CTR]}), False)
SP = [{'port': 80}]
for n, s in {'clusterip': {'ports': SP}, 'selector': {'ports': [{'port': 80, 'name': 'a', 'targetPort': 'http'}, {'port': 81, 'name': 'b', 'protocol': 'UDP', 'targetPort': 9, 'appProtocol': 'kubernetes.io/h2c'}], 'selector': {'a': 'b'}, 'sessionAffinity': 'ClientIP'},
     'headless': {'clusterIP': 'None', 'selector': {'a': 'b'}}, 'headless-nosel': {'clusterIP': 'None', 'ports': SP}, 'nodeport': {'type': 'NodePort', 'ports': SP}, 'nodeport-fixed': {'type': 'NodePort', 'ports': [{'port': 80, 'nodePort': 31999}]}, 'loadbalancer': {'type': 'LoadBalancer', 'ports': SP, 'loadBalancerSourceRanges': ['10.0.0.0/8']},
     'lb-local': {'type': 'LoadBalancer', 'ports': SP, 'externalTrafficPolicy': 'Local', 'selector': {'a': 'b'}}, 'lb-nonodeport': {'type': 'LoadBalancer', 'ports': SP, 'allocateLoadBalancerNodePorts': False, 'loadBalancerClass': 'x.example.com/y'},
     'externalname': {'type': 'ExternalName', 'externalName': 'foo.example.com'}, 'externalips': {'ports': SP, 'externalIPs': ['1.2.3.4'], 'internalTrafficPolicy': 'Local', 'publishNotReadyAddresses': True, 'trafficDistribution': 'PreferClose'}, 'ip-fixed': {'ports': SP, 'clusterIP': '10.96.99.99'},
     'prefer-dual': {'ports': SP, 'ipFamilyPolicy': 'PreferDualStack'}, 'require-dual': {'ports': SP, 'ipFamilyPolicy': 'RequireDualStack'}, 'ipv6': {'ports': SP, 'ipFamilies': ['IPv6']}, 'same-port-proto': {'ports': [{'port': 80, 'name': 'a'}, {'port': 80, 'name': 'b', 'protocol': 'UDP'}], 'type': 'NodePort'}}.items():
    dcase('svc-' + n, 'Service', O('Service', 's-' + n, spec=s), extra=([GET(P('IPAddress', '10.96.99.99'))] if n == 'ip-fixed' else []))
RS = {'selector': SEL, 'template': tmpl()}
dcase('deployment', 'Deployment', O('Deployment', 'd', spec=RS), extra=[GET(P('Deployment', 'd', 'scale')), GET(P('Deployment', 'd', 'status'))])
dcase('deployment-recreate', 'Deployment', O('Deployment', 'd', {'labels': {'q': 'r'}}, spec=dict(RS, strategy={'type': 'Recreate'}, replicas=0, paused=True, minReadySeconds=3, revisionHistoryLimit=1, progressDeadlineSeconds=60)), False)
dcase('deployment-rolling', 'Deployment', O('Deployment', 'd', spec=dict(RS, strategy={'rollingUpdate': {'maxSurge': 1}}, replicas=3)), False)
dcase('statefulset', 'StatefulSet', O('StatefulSet', 'd', spec=dict(RS, serviceName='s')), extra=[GET(P('StatefulSet', 'd', 'scale'))])
dcase('statefulset-pvc', 'StatefulSet', O('StatefulSet', 'd', spec=dict(RS, serviceName='s', podManagementPolicy='Parallel', ordinals={'start': 2}, volumeClaimTemplates=[{'metadata': {'name': 'v'}, 'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': '1Gi'}}}}], updateStrategy={'type': 'RollingUpdate', 'rollingUpdate': {'partition': 1}}, persistentVolumeClaimRetentionPolicy={'whenDeleted': 'Delete'})), False)
dcase('statefulset-ondelete', 'StatefulSet', O('StatefulSet', 'd', spec=dict(RS, updateStrategy={'type': 'OnDelete'})), False)
dcase('daemonset', 'DaemonSet', O('DaemonSet', 'd', spec=RS))
dcase('daemonset-ondelete', 'DaemonSet', O('DaemonSet', 'd', spec=dict(RS, updateStrategy={'type': 'OnDelete'})), False)
dcase('replicaset', 'ReplicaSet', O('ReplicaSet', 'd', spec=RS), extra=[GET(P('ReplicaSet', 'd', 'scale'))])
dcase('rc', 'ReplicationController', O('ReplicationController', 'd', spec={'template': tmpl()}), extra=[GET(P('ReplicationController', 'd', 'scale'))])
JT = {'spec': {'containers': [CTR], 'restartPolicy': 'Never'}}
dcase('job', 'Job', O('Job', 'j', spec={'template': JT}))
dcase('job-indexed', 'Job', O('Job', 'j', spec={'template': JT, 'completionMode': 'Indexed', 'completions': 3, 'parallelism': 2, 'backoffLimitPerIndex': 1, 'maxFailedIndexes': 2, 'ttlSecondsAfterFinished': 9, 'successPolicy': {'rules': [{'succeededIndexes': '0'}]}}), False)
dcase('job-podfailure', 'Job', O('Job', 'j', spec={'template': JT, 'podFailurePolicy': {'rules': [{'action': 'Ignore', 'onPodConditions': [{'type': 'DisruptionTarget'}]}, {'action': 'FailJob', 'onExitCodes': {'operator': 'In', 'values': [1]}}]}, 'suspend': True}), False)
dcase('job-manualselector', 'Job', O('Job', 'j', spec={'template': dict(JT, metadata={'labels': {'app': 'x'}}), 'manualSelector': True, 'selector': SEL}), False)
dcase('job-managedby', 'Job', O('Job', 'j', spec={'template': JT, 'managedBy': 'x.example.com/y', 'activeDeadlineSeconds': 5, 'parallelism': 0}), False)
dcase('cronjob', 'CronJob', O('CronJob', 'j', spec={'schedule': '*/5 * * * *', 'jobTemplate': {'spec': {'template': JT}}}))
dcase('cronjob-full', 'CronJob', O('CronJob', 'j', spec={'schedule': '@daily', 'timeZone': 'Europe/Berlin', 'concurrencyPolicy': 'Forbid', 'suspend': True, 'startingDeadlineSeconds': 9, 'successfulJobsHistoryLimit': 0, 'jobTemplate': {'spec': {'template': JT}}}))
PVCS = {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': '1Gi'}}}
dcase('pvc', 'PersistentVolumeClaim', O('PersistentVolumeClaim', 'c', spec=PVCS))
dcase('pvc-block', 'PersistentVolumeClaim', O('PersistentVolumeClaim', 'c', spec=dict(PVCS, volumeMode='Block', storageClassName='', volumeName='x', selector=SEL)), False)
dcase('pvc-datasource', 'PersistentVolumeClaim', O('PersistentVolumeClaim', 'c', spec=dict(PVCS, dataSource={'kind': 'PersistentVolumeClaim', 'name': 'o'})), False)
dcase('pvc-datasourceref', 'PersistentVolumeClaim', O('PersistentVolumeClaim', 'c', spec=dict(PVCS, dataSourceRef={'apiGroup': 'snapshot.storage.k8s.io', 'kind': 'VolumeSnapshot', 'name': 'o'})), False)
PVS = {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/x'}}
dcase('pv', 'PersistentVolume', O('PersistentVolume', 'kg-pv', spec=PVS), ns=None)
dcase('pv-csi', 'PersistentVolume', O('PersistentVolume', 'kg-pv2', spec=merge(PVS, hostPath=None, csi={'driver': 'd.example.com', 'volumeHandle': 'h'}, storageClassName='sc', persistentVolumeReclaimPolicy='Delete', claimRef={'namespace': 'default', 'name': 'x'}, mountOptions=['ro'])), ns=None)
dcase('pv-local', 'PersistentVolume', O('PersistentVolume', 'kg-pv3', spec=merge(PVS, hostPath=None, local={'path': '/x'}, nodeAffinity={'required': {'nodeSelectorTerms': [{'matchExpressions': [{'key': 'a', 'operator': 'Exists'}]}]}})), ns=None)
for k, v in {'nfs': {'server': 'h', 'path': '/e'}, 'iscsi': VOLS['iscsi'], 'rbd': VOLS['rbd'], 'azureDisk': VOLS['azureDisk'], 'scaleIO': dict(VOLS['scaleIO']), 'azureFile': VOLS['azureFile'], 'fc': VOLS['fc'], 'cephfs': VOLS['cephfs']}.items():
    dcase('pv-' + k, 'PersistentVolume', O('PersistentVolume', 'kg-pv-' + k.lower(), spec=merge(PVS, hostPath=None, **{k: v})), False, ns=None)
dcase('ingress', 'Ingress', O('Ingress', 'i', spec={'rules': [{'host': 'a.example.com', 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 's', 'port': {'number': 80}}}}]}}]}))
dcase('ingress-default', 'Ingress', O('Ingress', 'i', spec={'defaultBackend': {'service': {'name': 's', 'port': {'name': 'http'}}}, 'tls': [{'hosts': ['x.example.com'], 'secretName': 's'}], 'ingressClassName': 'c'}))
dcase('ingress-annotation', 'Ingress', O('Ingress', 'i', {'annotations': {'kubernetes.io/ingress.class': 'z'}}, spec={'rules': [{'http': {'paths': [{'pathType': 'ImplementationSpecific', 'backend': {'resource': {'apiGroup': 'k.example.com', 'kind': 'B', 'name': 'n'}}}]}}]}))
dcase('ingressclass', 'IngressClass', O('IngressClass', 'kg-ic', spec={'controller': 'x.example.com/y', 'parameters': {'kind': 'K', 'name': 'n', 'apiGroup': 'k.example.com'}}), ns=None)
dcase('netpol', 'NetworkPolicy', O('NetworkPolicy', 'n', spec={'podSelector': {}}))
dcase('netpol-rules', 'NetworkPolicy', O('NetworkPolicy', 'n', spec={'podSelector': SEL, 'ingress': [{'from': [{'podSelector': SEL}, {'ipBlock': {'cidr': '10.0.0.0/8', 'except': ['10.1.0.0/16']}}], 'ports': [{'port': 80}, {'port': 'http', 'protocol': 'UDP'}, {'port': 1, 'endPort': 9}]}], 'egress': [{}]}))
HR = {'scaleTargetRef': {'kind': 'Deployment', 'name': 'd', 'apiVersion': 'apps/v1'}, 'maxReplicas': 3}
dcase('hpa-v2', 'HorizontalPodAutoscaler', O('HorizontalPodAutoscaler', 'h', spec=HR), extra=[GET('/apis/autoscaling/v1/namespaces/$NS/horizontalpodautoscalers/h')])
dcase('hpa-v2-metrics', 'HorizontalPodAutoscaler', O('HorizontalPodAutoscaler', 'h', spec=dict(HR, minReplicas=2, metrics=[{'type': 'Resource', 'resource': {'name': 'memory', 'target': {'type': 'AverageValue', 'averageValue': '100Mi'}}}, {'type': 'Pods', 'pods': {'metric': {'name': 'm'}, 'target': {'type': 'AverageValue', 'averageValue': '1k'}}},
   {'type': 'Object', 'object': {'describedObject': {'kind': 'Service', 'name': 's', 'apiVersion': 'v1'}, 'metric': {'name': 'q'}, 'target': {'type': 'Value', 'value': '5'}}}, {'type': 'External', 'external': {'metric': {'name': 'e', 'selector': SEL}, 'target': {'type': 'Value', 'value': '5'}}}, {'type': 'ContainerResource', 'containerResource': {'name': 'cpu', 'container': 'c', 'target': {'type': 'Utilization', 'averageUtilization': 50}}}],
   behavior={'scaleDown': {'policies': [{'type': 'Pods', 'value': 1, 'periodSeconds': 9}]}})), extra=[GET('/apis/autoscaling/v1/namespaces/$NS/horizontalpodautoscalers/h')])
dcase('hpa-v1', 'HorizontalPodAutoscaler@autoscaling/v1', O('HorizontalPodAutoscaler@autoscaling/v1', 'h', spec=dict(HR, targetCPUUtilizationPercentage=70)), extra=[GET(P('HorizontalPodAutoscaler', 'h'))])
dcase('pdb', 'PodDisruptionBudget', O('PodDisruptionBudget', 'b', spec={'minAvailable': 1, 'selector': SEL}))
dcase('pdb-max', 'PodDisruptionBudget', O('PodDisruptionBudget', 'b', spec={'maxUnavailable': '30%', 'selector': {}, 'unhealthyPodEvictionPolicy': 'AlwaysAllow'}))
dcase('pdb-empty', 'PodDisruptionBudget', O('PodDisruptionBudget', 'b', spec={}))
RU = [{'apiGroups': [''], 'resources': ['pods'], 'verbs': ['get']}]
dcase('role', 'Role', O('Role', 'r', rules=RU)); dcase('role-empty', 'Role', O('Role', 'r', rules=[]), False); dcase('role-none', 'Role', O('Role', 'r'), False)
dcase('rolebinding', 'RoleBinding', O('RoleBinding', 'r', roleRef={'kind': 'ClusterRole', 'name': 'view', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[{'kind': 'ServiceAccount', 'name': 'd', 'namespace': 'x'}, {'kind': 'User', 'name': 'u'}, {'kind': 'Group', 'name': 'g'}]))
dcase('rolebinding-noapigroup', 'RoleBinding', O('RoleBinding', 'r', roleRef={'kind': 'Role', 'name': 'z'}), False)
dcase('clusterrole', 'ClusterRole', O('ClusterRole', 'kg-cr', rules=RU + [{'nonResourceURLs': ['/x', '/y/*'], 'verbs': ['*']}]), ns=None)
dcase('clusterrole-aggr', 'ClusterRole', O('ClusterRole', 'kg-cr2', aggregationRule={'clusterRoleSelectors': [{'matchLabels': {'kg-none': 'x'}}]}, rules=[]), False, ns=None)
dcase('clusterrolebinding', 'ClusterRoleBinding', O('ClusterRoleBinding', 'kg-crb', roleRef={'kind': 'ClusterRole', 'name': 'view', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[{'kind': 'User', 'name': 'u'}]), ns=None)
WHK = {'name': 'w.example.com', 'clientConfig': {'service': {'namespace': 'n', 'name': 's'}}, 'sideEffects': 'None', 'admissionReviewVersions': ['v1'], 'rules': [{'apiGroups': ['kgnone.example.com'], 'apiVersions': ['v1'], 'resources': ['nones'], 'operations': ['CREATE']}]}
for k in ('ValidatingWebhookConfiguration', 'MutatingWebhookConfiguration'):
    dcase(k.lower(), k, O(k, 'kg-wh', webhooks=[WHK]), ns=None); dcase(k.lower() + '-empty', k, O(k, 'kg-wh2'), False, ns=None)
VAPS = {'matchConstraints': {'resourceRules': [{'apiGroups': ['kgnone.example.com'], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['nones']}]}, 'validations': [{'expression': 'true'}]}
dcase('vap', 'ValidatingAdmissionPolicy', O('ValidatingAdmissionPolicy', 'kg-vap', spec=VAPS), ns=None)
dcase('vapb', 'ValidatingAdmissionPolicyBinding', O('ValidatingAdmissionPolicyBinding', 'kg-vapb', spec={'policyName': 'kg-x', 'validationActions': ['Deny']}), ns=None)
dcase('vapb-match', 'ValidatingAdmissionPolicyBinding', O('ValidatingAdmissionPolicyBinding', 'kg-vapb2', spec={'policyName': 'kg-x', 'validationActions': ['Warn', 'Audit'], 'matchResources': {'namespaceSelector': SEL}, 'paramRef': {'selector': {}, 'parameterNotFoundAction': 'Deny'}}), False, ns=None)
MAPS = {'matchConstraints': VAPS['matchConstraints'], 'reinvocationPolicy': 'Never', 'mutations': [{'patchType': 'ApplyConfiguration', 'applyConfiguration': {'expression': 'Object{}'}}]}
dcase('map', 'MutatingAdmissionPolicy', O('MutatingAdmissionPolicy', 'kg-map', spec=MAPS), ns=None)
dcase('map-min', 'MutatingAdmissionPolicy', O('MutatingAdmissionPolicy', 'kg-map2', spec=merge(MAPS, mutations=[{'patchType': 'JSONPatch', 'jsonPatch': {'expression': '[JSONPatch{op: "add", path: "/metadata/labels", value: {"a": "b"}}]'}}])), False, ns=None)
dcase('mapb', 'MutatingAdmissionPolicyBinding', O('MutatingAdmissionPolicyBinding', 'kg-mapb', spec={'policyName': 'kg-x'}), ns=None)
dcase('priorityclass', 'PriorityClass', O('PriorityClass', 'kg-pc', value=7), ns=None)
dcase('priorityclass-never', 'PriorityClass', O('PriorityClass', 'kg-pc2', value=-5, preemptionPolicy='Never', description='d'), ns=None)
dcase('runtimeclass', 'RuntimeClass', O('RuntimeClass', 'kg-rc', handler='h', overhead={'podFixed': {'cpu': '250m'}}, scheduling={'nodeSelector': {'a': 'b'}, 'tolerations': [{'key': 'a', 'operator': 'Exists'}]}), ns=None)
dcase('storageclass', 'StorageClass', O('StorageClass', 'kg-sc', provisioner='p.example.com'), ns=None)
dcase('storageclass-full', 'StorageClass', O('StorageClass', 'kg-sc2', provisioner='p.example.com', parameters={'a': 'b'}, reclaimPolicy='Retain', allowVolumeExpansion=True, volumeBindingMode='WaitForFirstConsumer', mountOptions=['x'], allowedTopologies=[{'matchLabelExpressions': [{'key': 'z', 'values': ['a']}]}]), ns=None)
dcase('csidriver', 'CSIDriver', O('CSIDriver', 'kg-d.example.com'), ns=None, extra=[DEL(P('CSIDriver', 'kg-d.example.com'))])
dcase('csidriver-spec', 'CSIDriver', O('CSIDriver', 'kg-d2.example.com', spec={'attachRequired': False, 'podInfoOnMount': True, 'volumeLifecycleModes': ['Ephemeral'], 'tokenRequests': [{'audience': 'a'}]}), ns=None)
dcase('csinode', 'CSINode', O('CSINode', 'kg-n', spec={'drivers': [{'name': 'd.example.com', 'nodeID': 'i', 'topologyKeys': ['z'], 'allocatable': {'count': 3}}]}), ns=None)
dcase('volumeattachment', 'VolumeAttachment', O('VolumeAttachment', 'kg-va', spec={'attacher': 'd.example.com', 'nodeName': 'n', 'source': {'persistentVolumeName': 'p'}}), ns=None)
dcase('vac', 'VolumeAttributesClass', O('VolumeAttributesClass', 'kg-vac', driverName='d.example.com', parameters={'a': 'b'}), ns=None)
dcase('csicapacity', 'CSIStorageCapacity', O('CSIStorageCapacity', 'c', storageClassName='s', capacity='1Gi', nodeTopology=SEL))
dcase('lease', 'Lease', O('Lease', 'l', spec={'holderIdentity': 'h', 'leaseDurationSeconds': 5, 'acquireTime': '2020-01-01T00:00:00.123456Z', 'renewTime': '2020-01-01T00:00:00.000000Z', 'leaseTransitions': 2}))
dcase('lease-empty', 'Lease', O('Lease', 'l'), False)
dcase('endpointslice', 'EndpointSlice', O('EndpointSlice', 'e', addressType='IPv4', endpoints=[{'addresses': ['10.1.2.3'], 'conditions': {'ready': True}, 'nodeName': 'n', 'zone': 'z'}, {'addresses': ['10.1.2.4']}], ports=[{'port': 80}, {'name': 'b', 'port': 81, 'protocol': 'UDP'}]))
dcase('endpointslice-min', 'EndpointSlice', O('EndpointSlice', 'e', addressType='FQDN', endpoints=[{'addresses': ['a.example.com']}]))
dcase('endpoints', 'Endpoints', O('Endpoints', 'e', subsets=[{'addresses': [{'ip': '10.1.2.4'}, {'ip': '10.1.2.3', 'hostname': 'h'}], 'notReadyAddresses': [{'ip': '10.1.2.9'}], 'ports': [{'port': 80}]}]))
dcase('endpoints-repack', 'Endpoints', O('Endpoints', 'e', subsets=[{'addresses': [{'ip': '10.1.2.4'}], 'ports': [{'port': 80, 'name': 'a'}]}, {'addresses': [{'ip': '10.1.2.4'}], 'ports': [{'port': 81, 'name': 'b'}]}]), False)
INV = {'kind': 'Pod', 'namespace': '$NS', 'name': 'p'}
dcase('event', 'Event', O('Event', 'e', involvedObject=INV, reason='R', message='m', type='Normal', count=2, firstTimestamp='2020-01-01T00:00:00Z', lastTimestamp='2020-01-02T00:00:00Z', source={'component': 'c', 'host': 'h'}), extra=[GET('/apis/events.k8s.io/v1/namespaces/$NS/events/e'), GET('/apis/events.k8s.io/v1/namespaces/$NS/events/e', acc=TABLE_ONLY)])
dcase('event-min', 'Event', O('Event', 'e', involvedObject=INV), False)
dcase('event-v1', 'Event@events.k8s.io/v1', O('Event@events.k8s.io/v1', 'e', eventTime='2020-01-01T00:00:00.000001Z', reportingController='x.example.com/y', reportingInstance='i', action='A', reason='R', type='Normal', regarding=INV, note='n'), extra=[GET(P('Event', 'e'))])
dcase('limitrange', 'LimitRange', O('LimitRange', 'l', spec={'limits': [{'type': 'Container', 'max': {'cpu': '2'}, 'defaultRequest': {'memory': '1Mi'}}, {'type': 'Pod', 'max': {'memory': '1Gi'}, 'min': {'cpu': '1m'}}, {'type': 'PersistentVolumeClaim', 'min': {'storage': '1Gi'}}]}), ns='own')
dcase('limitrange-default', 'LimitRange', O('LimitRange', 'l', spec={'limits': [{'type': 'Container', 'min': {'cpu': '50m'}, 'max': {'cpu': '1'}, 'default': {'cpu': '500m'}}]}), ns='own')
dcase('quota', 'ResourceQuota', O('ResourceQuota', 'q', spec={'hard': {'pods': '5', 'requests.cpu': '1000m', 'count/jobs.batch': '3', 'requests.example.com/x': '1'}}), False, ns='own')
dcase('quota-scopes', 'ResourceQuota', O('ResourceQuota', 'q', spec={'hard': {'pods': '5'}, 'scopes': ['BestEffort'], 'scopeSelector': {'matchExpressions': [{'scopeName': 'PriorityClass', 'operator': 'In', 'values': ['a']}]}}), False, ns='own')
dcase('serviceaccount', 'ServiceAccount', O('ServiceAccount', 'sa', secrets=[{'name': 'z'}], imagePullSecrets=[{'name': 'y'}], automountServiceAccountToken=False))
B64 = base64.b64encode(b'v').decode()
dcase('secret', 'Secret', O('Secret', 's', data={'a': B64}, stringData={'b': 'w', 'a': 'over'}))
for t, d in {'kubernetes.io/basic-auth': {'username': B64}, 'kubernetes.io/ssh-auth': {'ssh-privatekey': B64}, 'kubernetes.io/tls': {'tls.crt': B64, 'tls.key': B64}, 'kubernetes.io/dockerconfigjson': {'.dockerconfigjson': base64.b64encode(b'{}').decode()}, 'kubernetes.io/dockercfg': {'.dockercfg': base64.b64encode(b'{}').decode()}, 'bootstrap.kubernetes.io/token': {'token-id': B64}, 'x.example.com/custom': {'z': B64}}.items():
    dcase('secret-' + t.split('/')[1], 'Secret', O('Secret', 's', type=t, data=d), False)
dcase('secret-immutable', 'Secret', O('Secret', 's', immutable=True), False)
dcase('configmap', 'ConfigMap', cm(data={'b': '1', 'a': '2'}, binaryData={'z': B64})); dcase('configmap-empty', 'ConfigMap', O('ConfigMap', 'c'), False); dcase('configmap-immutable', 'ConfigMap', cm(immutable=True), False)
dcase('namespace', 'Namespace', O('Namespace', 'kg-nsx', {'labels': {'a': 'b'}}), ns=None)
dcase('namespace-generate', 'Namespace', O('Namespace', None, {'generateName': 'kg-nsg-'}), False, ns=None)
dcase('node', 'Node', O('Node', 'kg-node'), ns=None)
dcase('node-full', 'Node', O('Node', 'kg-node2', {'labels': {'node-role.kubernetes.io/control-plane': '', 'a': 'b'}}, spec={'unschedulable': True, 'taints': [{'key': 'k', 'effect': 'NoExecute'}], 'podCIDR': '10.244.0.0/24', 'providerID': 'x://y'}, status={'capacity': {'cpu': '2', 'memory': '1Gi'}, 'conditions': [{'type': 'Ready', 'status': 'True'}], 'addresses': [{'type': 'InternalIP', 'address': '1.2.3.4'}], 'nodeInfo': {'kubeletVersion': 'v1', 'machineID': '', 'systemUUID': '', 'bootID': '', 'kernelVersion': 'k', 'osImage': 'o', 'containerRuntimeVersion': 'c://1', 'kubeProxyVersion': '', 'operatingSystem': 'linux', 'architecture': 'amd64'}}), ns=None)
dcase('flowschema', 'FlowSchema', O('FlowSchema', 'kg-fs', spec={'priorityLevelConfiguration': {'name': 'workload-low'}}), ns=None)
dcase('flowschema-rules', 'FlowSchema', O('FlowSchema', 'kg-fs2', spec={'priorityLevelConfiguration': {'name': 'workload-low'}, 'matchingPrecedence': 9999, 'distinguisherMethod': {'type': 'ByUser'}, 'rules': [{'subjects': [{'kind': 'User', 'user': {'name': 'nobody'}}], 'resourceRules': [{'verbs': ['get'], 'apiGroups': [''], 'resources': ['pods'], 'namespaces': ['x']}]}]}), False, ns=None)
dcase('plc', 'PriorityLevelConfiguration', O('PriorityLevelConfiguration', 'kg-pl', spec={'type': 'Limited', 'limited': {'limitResponse': {'type': 'Queue', 'queuing': {}}}}), ns=None)
dcase('plc-reject', 'PriorityLevelConfiguration', O('PriorityLevelConfiguration', 'kg-pl2', spec={'type': 'Limited', 'limited': {'limitResponse': {'type': 'Reject'}, 'nominalConcurrencyShares': 0, 'lendablePercent': 10, 'borrowingLimitPercent': 5}}), ns=None)
dcase('plc-exempt', 'PriorityLevelConfiguration', O('PriorityLevelConfiguration', 'kg-pl3', spec={'type': 'Exempt'}), False, ns=None)
dcase('servicecidr', 'ServiceCIDR', O('ServiceCIDR', 'kg-sc', spec={'cidrs': ['10.97.0.0/24']}), ns=None)
dcase('ipaddress', 'IPAddress', O('IPAddress', '10.95.0.9', spec={'parentRef': {'resource': 'services', 'namespace': 'n', 'name': 's'}}), ns=None)
dcase('controllerrevision', 'ControllerRevision', O('ControllerRevision', 'c', revision=3, data={'a': 1}))
dcase('podtemplate', 'PodTemplate', O('PodTemplate', 't', template=tmpl()))
DQ = {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'c.example.com'}}]}
dcase('resourceclaim', 'ResourceClaim', O('ResourceClaim', 'c', spec={'devices': DQ}))
dcase('resourceclaim-first', 'ResourceClaim', O('ResourceClaim', 'c', spec={'devices': {'requests': [{'name': 'r', 'firstAvailable': [{'name': 'a', 'deviceClassName': 'c.example.com', 'allocationMode': 'All'}, {'name': 'b', 'deviceClassName': 'd.example.com', 'count': 2, 'selectors': [{'cel': {'expression': 'true'}}], 'tolerations': [{'key': 'a', 'effect': 'NoSchedule'}]}]}], 'constraints': [{'requests': ['r'], 'matchAttribute': 'd.example.com/x'}]}}), False)
dcase('resourceclaimtemplate', 'ResourceClaimTemplate', O('ResourceClaimTemplate', 'c', spec={'metadata': {'labels': {'a': 'b'}}, 'spec': {'devices': DQ}}))
dcase('deviceclass', 'DeviceClass', O('DeviceClass', 'kg-c.example.com', spec={'selectors': [{'cel': {'expression': 'device.driver == "d"'}}]}), ns=None)
dcase('resourceslice', 'ResourceSlice', O('ResourceSlice', 'kg-rs', spec={'driver': 'd.example.com', 'nodeName': 'n', 'pool': {'name': 'p', 'generation': 1, 'resourceSliceCount': 1}, 'devices': [{'name': 'a', 'attributes': {'x': {'int': 1}, 'y': {'string': 's'}, 'v': {'version': '1.2.3'}, 'b': {'bool': True}}, 'capacity': {'m': {'value': '1Gi'}}}]}), ns=None)
dcase('resourceslice-taints', 'ResourceSlice', O('ResourceSlice', 'kg-rs2', spec={'driver': 'd.example.com', 'allNodes': True, 'pool': {'name': 'p', 'generation': 1, 'resourceSliceCount': 1}, 'devices': [{'name': 'a', 'taints': [{'key': 'k', 'effect': 'NoExecute', 'timeAdded': '2020-01-01T00:00:00Z'}]}]}), False, ns=None)
def crd(plural='widgets', kind='Widget', schema=None, scope='Namespaced', group='kg.example.com', **v):
    ver = dict({'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': schema or {'type': 'object', 'properties': {'spec': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}}}, **v)
    return O('CustomResourceDefinition', plural + '.' + group, spec={'group': group, 'scope': scope, 'names': {'plural': plural, 'kind': kind}, 'versions': [ver]})
dcase('crd', 'CustomResourceDefinition', crd('kgdefs', 'KgDef'), False, ns=None, extra=[WAIT(P('CustomResourceDefinition', 'kgdefs.kg.example.com'), lambda r: any(c['type'] == 'Established' and c['status'] == 'True' for c in r.json['status']['conditions']), rec=True), GET(P('CustomResourceDefinition', 'kgdefs.kg.example.com'), acc=TABLE_ONLY)])
dcase('apiservice', 'APIService', O('APIService', 'v1.kgagg.example.com', spec={'group': 'kgagg.example.com', 'version': 'v1', 'groupPriorityMinimum': 100, 'versionPriority': 5, 'service': {'namespace': 'default', 'name': 'nope'}, 'insecureSkipTLSVerify': True}), False, ns=None)
CSRPEM = '''-----BEGIN CERTIFICATE REQUEST-----
MIHZMIGAAgEAMB4xCzAJBgNVBAoMAmtnMQ8wDQYDVQQDDAZnb2xkZW4wWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAR7bveszc1MVuLqx+Lt1qSJgU/hvxYK58nV3Qwo
H9FpzHSgBuSG3LF/sqGRM9qbTAS7hPLQZ/m+M3QsIOahH39NoAAwCgYIKoZIzj0E
AwIDSAAwRQIhANgXmD9XYrUU8ECxWf2oQhI3Ia+kvJXue5YXHeUljACrAiA8xPid
nfKRN6m7Eor2NKqXshjdTnfBPtmQyot4vabpoA==
-----END CERTIFICATE REQUEST-----
'''
CSR64 = base64.b64encode(CSRPEM.encode()).decode()
dcase('csr', 'CertificateSigningRequest', O('CertificateSigningRequest', 'kg-csr', spec={'request': CSR64, 'signerName': 'kg.example.com/x', 'usages': ['client auth', 'digital signature']}), ns=None)
dcase('csr-exp', 'CertificateSigningRequest', O('CertificateSigningRequest', 'kg-csr2', spec={'request': CSR64, 'signerName': 'kubernetes.io/kube-apiserver-client', 'usages': ['client auth'], 'expirationSeconds': 3600, 'username': 'evil', 'groups': ['system:masters']}), ns=None)
# lists of built-in kinds as tables (empty namespace) and of objects that exist in any cluster
for k, (gv, pl, nsd) in KINDS.items():
    if 'Review' in k or k == 'Binding': continue
    p = P(k) if nsd else P(k)
    case('tables', k.replace('/', '-'), GET(p + '?labelSelector=kg-none%3Dx', acc=TABLE_ONLY), GET(p + '?labelSelector=kg-none%3Dx'), GET(p + '?labelSelector=kg-none%3Dx', acc=POML), ns='shared' if nsd else None)
case('tables', 'include-object', *[GET('/api/v1/namespaces/kube-system?includeObject=' + x, acc=TABLE_ONLY, proj=lambda b: b if 'rows' not in b else [sorted(b['rows'][0]), (b['rows'][0].get('object') or {}).get('kind'), sorted(b['rows'][0].get('object') or {})]) for x in ('None', 'Metadata', 'Object', 'Nope')],
     GET('/api/v1/namespaces/kube-system', acc='application/json;as=Table;v=v1beta1;g=meta.k8s.io', proj=lambda b: b.get('apiVersion') if isinstance(b, dict) else b), GET('/api/v1/namespaces/kube-system', acc='application/json;as=Nope;v=v1;g=meta.k8s.io'), GET('/api/v1/namespaces/kube-system', acc='application/json;as=Nope;v=v1;g=meta.k8s.io,application/json', proj=lambda b: b.get('kind')),
     GET('/api/v1/namespaces', acc=POM), GET('/api/v1/namespaces/kube-system', acc=POML), GET('/api/v1/namespaces/kube-system', acc='application/yaml;as=Table;v=v1;g=meta.k8s.io', proj=lambda b: str(b)[:40]), ns=None)
case('tables', 'bootstrap', *[GET(p) for p in ('/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical', '/apis/scheduling.k8s.io/v1/priorityclasses/system-cluster-critical', '/apis/networking.k8s.io/v1/servicecidrs/kubernetes', '/api/v1/namespaces/default', '/api/v1/namespaces/default/services/kubernetes',
      '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication')], *[GET(p, proj=lambda b: sorted(i['metadata']['name'] for i in b['items'])) for p in ('/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas', '/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations', '/apis/apiregistration.k8s.io/v1/apiservices', '/apis/rbac.authorization.k8s.io/v1/clusterroles', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', '/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles', '/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings')], ns=None)
for n in ('cluster-admin', 'admin', 'edit', 'view', 'system:node', 'system:basic-user', 'system:discovery', 'system:public-info-viewer', 'system:kube-scheduler', 'system:kube-controller-manager', 'system:controller:generic-garbage-collector', 'system:aggregate-to-view'):
    case('bootstrap', 'clusterrole-' + n.replace(':', '-'), GET('/apis/rbac.authorization.k8s.io/v1/clusterroles/' + n), ns=None)
case('bootstrap', 'flowcontrol', *[GET('/apis/flowcontrol.apiserver.k8s.io/v1/' + x) for x in ('flowschemas', 'prioritylevelconfigurations')], ns=None)
case('bootstrap', 'bindings', *[GET('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/' + x) for x in ('cluster-admin', 'system:node', 'system:basic-user', 'system:discovery', 'system:public-info-viewer')], ns=None)

# ---------------------------------------------------------------- group: validation
V = 'validation'
L = lambda n: 'a' * n
def v(kind, pre, base, rows, **k):
    """rows: (id, dotted path, value [, path, value ...]) applied to a valid object, POSTed with dryRun=All"""
    for r in rows:
        o = r[1] if isinstance(r[1], dict) else sets(base, *r[1:])
        case(V, pre + '-' + r[0], POST(P(kind) + '?dryRun=All', o), **k)
c0 = 'spec.containers.0.'
v('Pod', 'pod', pod(), [
 ('noname', 'metadata.name', None), ('name-upper', 'metadata.name', 'Abc'), ('name-underscore', 'metadata.name', 'a_b'), ('name-long', 'metadata.name', L(254)), ('name-64', 'metadata.name', L(64)), ('name-dot', 'metadata.name', 'a.b'), ('name-dots', 'metadata.name', 'a..b'), ('name-empty', 'metadata.name', ''), ('name-slash', 'metadata.name', 'a/b'), ('name-pct', 'metadata.name', 'a%b'), ('name-dash', 'metadata.name', '-a'), ('name-num', 'metadata.name', 5),
 ('genname-bad', 'metadata.name', None, 'metadata.generateName', 'A_'), ('label-key', 'metadata.labels', {'a b': 'c'}), ('label-key2', 'metadata.labels', {'UP.example.com/x/y': 'c'}), ('label-key-long', 'metadata.labels', {L(64): 'c'}), ('label-prefix', 'metadata.labels', {'-x/a': 'c'}), ('label-val', 'metadata.labels', {'a': 'b c'}), ('label-val-long', 'metadata.labels', {'a': L(64)}), ('label-empty-key', 'metadata.labels', {'': 'x'}), ('label-null', 'metadata.labels', {'a': None}), ('label-int', 'metadata.labels', {'a': 1}), ('labels-list', 'metadata.labels', ['a']),
 ('anno-key', 'metadata.annotations', {'a b': 'c'}), ('anno-upper', 'metadata.annotations', {'UPPER.example.com/X': 'c'}), ('anno-big', 'metadata.annotations', {'a': 'x' * 262145}), ('finalizer-bad', 'metadata.finalizers', ['nope']), ('finalizer-bad2', 'metadata.finalizers', ['a b/c']), ('owner-empty', 'metadata.ownerReferences', [{}]), ('owner-ns', 'metadata.ownerReferences', [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'x', 'uid': ''}]), ('owner-event', 'metadata.ownerReferences', [{'apiVersion': 'v1', 'kind': 'Event', 'name': 'x', 'uid': 'u'}]),
 ('owner-two-controllers', 'metadata.ownerReferences', [{'apiVersion': 'v1', 'kind': 'X', 'name': 'x', 'uid': 'u', 'controller': True}, {'apiVersion': 'v1', 'kind': 'X', 'name': 'y', 'uid': 'w', 'controller': True}]), ('owner-badgv', 'metadata.ownerReferences', [{'apiVersion': 'a/b/c', 'kind': 'X', 'name': 'x', 'uid': 'u'}]), ('managedfields-bad', 'metadata.managedFields', [{'manager': 'm', 'operation': 'Nope', 'apiVersion': 'v1', 'fieldsType': 'FieldsV1', 'fieldsV1': {}}]), ('managedfields-bad2', 'metadata.managedFields', [{'manager': 'm', 'operation': 'Update', 'apiVersion': 'v1', 'fieldsType': 'X', 'fieldsV1': {}}]),
 ('ns-mismatch', 'metadata.namespace', 'other'), ('no-spec', 'spec', None), ('spec-null-containers', 'spec.containers', None), ('containers-empty', 'spec.containers', []), ('container-empty', 'spec.containers', [{}]), ('container-null', 'spec.containers', [None]), ('c-noname', c0 + 'name', None), ('c-noimage', c0 + 'image', None), ('c-image-space', c0 + 'image', ' img'), ('c-image-empty', c0 + 'image', ''), ('c-badname', c0 + 'name', 'A_b'), ('c-longname', c0 + 'name', L(64)), ('c-dup', 'spec.containers', [CTR, CTR]), ('c-init-dup', 'spec.initContainers', [CTR]), ('c-pullpolicy', c0 + 'imagePullPolicy', 'Sometimes'),
 ('port-zero', c0 + 'ports', [{'containerPort': 0}]), ('port-neg', c0 + 'ports', [{'containerPort': -1}]), ('port-big', c0 + 'ports', [{'containerPort': 65536}]), ('port-str', c0 + 'ports', [{'containerPort': '80'}]), ('port-float', c0 + 'ports', [{'containerPort': 80.5}]), ('port-proto', c0 + 'ports', [{'containerPort': 80, 'protocol': 'ICMP'}]), ('port-dupname', c0 + 'ports', [{'containerPort': 80, 'name': 'a'}, {'containerPort': 81, 'name': 'a'}]), ('port-badname', c0 + 'ports', [{'containerPort': 80, 'name': 'UP'}]), ('port-numname', c0 + 'ports', [{'containerPort': 80, 'name': '80'}]), ('port-longname', c0 + 'ports', [{'containerPort': 80, 'name': L(16)}]), ('port-duphost', c0 + 'ports', [{'containerPort': 80, 'hostPort': 8080}, {'containerPort': 81, 'hostPort': 8080}]), ('port-hostnet', 'spec.hostNetwork', True, c0 + 'ports', [{'containerPort': 80, 'hostPort': 81}]), ('port-none', c0 + 'ports', [{}]), ('port-dup-warn', c0 + 'ports', [{'containerPort': 80}, {'containerPort': 80}]), ('port-hostip', c0 + 'ports', [{'containerPort': 80, 'hostIP': 'x'}]),
 ('env-noname', c0 + 'env', [{'value': 'x'}]), ('env-badname', c0 + 'env', [{'name': 'a=b'}]), ('env-both', c0 + 'env', [{'name': 'a', 'value': 'x', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.name'}}}]), ('env-from-none', c0 + 'env', [{'name': 'a', 'valueFrom': {}}]), ('env-from-two', c0 + 'env', [{'name': 'a', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.name'}, 'configMapKeyRef': {'name': 'x', 'key': 'k'}}}]), ('env-fieldpath', c0 + 'env', [{'name': 'a', 'valueFrom': {'fieldRef': {'fieldPath': 'spec.containers'}}}]), ('env-fieldpath2', c0 + 'env', [{'name': 'a', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.labels'}}}]), ('env-apiversion', c0 + 'env', [{'name': 'a', 'valueFrom': {'fieldRef': {'apiVersion': 'v9', 'fieldPath': 'metadata.name'}}}]), ('env-resource', c0 + 'env', [{'name': 'a', 'valueFrom': {'resourceFieldRef': {'resource': 'limits.nope'}}}]), ('env-divisor', c0 + 'env', [{'name': 'a', 'valueFrom': {'resourceFieldRef': {'resource': 'limits.cpu', 'divisor': '3'}}}]), ('env-dup-warn', c0 + 'env', [{'name': 'a', 'value': '1'}, {'name': 'a', 'value': '2'}]), ('env-cm-nokey', c0 + 'env', [{'name': 'a', 'valueFrom': {'configMapKeyRef': {'name': 'x'}}}]), ('envfrom-none', c0 + 'envFrom', [{}]), ('envfrom-two', c0 + 'envFrom', [{'configMapRef': {'name': 'a'}, 'secretRef': {'name': 'b'}}]),
 ('res-neg', c0 + 'resources', {'limits': {'cpu': '-1'}}), ('res-bad', c0 + 'resources', {'limits': {'cpu': 'x'}}), ('res-bad2', c0 + 'resources', {'limits': {'memory': '1GiB'}}), ('res-req-gt', c0 + 'resources', {'limits': {'cpu': '1'}, 'requests': {'cpu': '2'}}), ('res-unknown', c0 + 'resources', {'limits': {'nope': '1'}}), ('res-ext-frac', c0 + 'resources', {'limits': {'example.com/x': '1500m'}}), ('res-ext-noeq', c0 + 'resources', {'limits': {'example.com/x': '2'}, 'requests': {'example.com/x': '1'}}), ('res-hugepages', c0 + 'resources', {'limits': {'hugepages-2Mi': '3Mi'}}), ('res-mem-milli', c0 + 'resources', {'limits': {'memory': '100m'}}), ('res-claims', c0 + 'resources', {'claims': [{'name': 'x'}]}), ('res-num', c0 + 'resources', {'limits': {'cpu': 2, 'memory': 1048576}}), ('res-float', c0 + 'resources', {'limits': {'cpu': 0.5}}), ('res-empty', c0 + 'resources', {'limits': {'cpu': ''}}), ('res-cpu-tiny', c0 + 'resources', {'limits': {'cpu': '0.0001'}}),
 ('probe-none', c0 + 'livenessProbe', {}), ('probe-two', c0 + 'livenessProbe', {'exec': {'command': ['a']}, 'tcpSocket': {'port': 1}}), ('probe-neg', c0 + 'livenessProbe', dict(PROBE, periodSeconds=-1)), ('probe-success', c0 + 'livenessProbe', dict(PROBE, successThreshold=2)), ('probe-port', c0 + 'livenessProbe', {'httpGet': {'port': 0}}), ('probe-portname', c0 + 'livenessProbe', {'httpGet': {'port': 'UP_'}}), ('probe-scheme', c0 + 'livenessProbe', {'httpGet': {'port': 1, 'scheme': 'FTP'}}), ('probe-exec', c0 + 'livenessProbe', {'exec': {}}), ('probe-grace', c0 + 'readinessProbe', dict(PROBE, terminationGracePeriodSeconds=5)), ('probe-header', c0 + 'livenessProbe', {'httpGet': {'port': 1, 'httpHeaders': [{'name': 'a b'}]}}), ('probe-init', 'spec.initContainers', [{'name': 'i', 'image': 'i', 'livenessProbe': PROBE}]), ('lifecycle-two', c0 + 'lifecycle', {'preStop': {'exec': {'command': ['a']}, 'httpGet': {'port': 1}}}), ('lifecycle-sleep', c0 + 'lifecycle', {'preStop': {'sleep': {'seconds': 500}}}),
 ('vol-dup', 'spec.volumes', [{'name': 'v'}, {'name': 'v'}]), ('vol-badname', 'spec.volumes', [{'name': 'A_'}]), ('vol-noname', 'spec.volumes', [{}]), ('vol-two', 'spec.volumes', [{'name': 'v', 'emptyDir': {}, 'hostPath': {'path': '/'}}]), ('vol-hostpath-type', 'spec.volumes', [{'name': 'v', 'hostPath': {'path': '/', 'type': 'X'}}]), ('vol-hostpath-dots', 'spec.volumes', [{'name': 'v', 'hostPath': {'path': '/a/../b'}}]), ('vol-hostpath-none', 'spec.volumes', [{'name': 'v', 'hostPath': {}}]), ('vol-secret-none', 'spec.volumes', [{'name': 'v', 'secret': {}}]), ('vol-mode', 'spec.volumes', [{'name': 'v', 'secret': {'secretName': 's', 'defaultMode': 512}}]), ('vol-items-path', 'spec.volumes', [{'name': 'v', 'secret': {'secretName': 's', 'items': [{'key': 'k', 'path': '../x'}]}}]), ('vol-items-abs', 'spec.volumes', [{'name': 'v', 'secret': {'secretName': 's', 'items': [{'key': 'k', 'path': '/x'}]}}]), ('vol-cm-none', 'spec.volumes', [{'name': 'v', 'configMap': {}}]), ('vol-pvc-none', 'spec.volumes', [{'name': 'v', 'persistentVolumeClaim': {}}]), ('vol-emptydir-neg', 'spec.volumes', [{'name': 'v', 'emptyDir': {'sizeLimit': '-1'}}]), ('vol-emptydir-medium', 'spec.volumes', [{'name': 'v', 'emptyDir': {'medium': 'X'}}]), ('vol-proj-none', 'spec.volumes', [{'name': 'v', 'projected': {'sources': [{}]}}]), ('vol-proj-token', 'spec.volumes', [{'name': 'v', 'projected': {'sources': [{'serviceAccountToken': {'path': 't', 'expirationSeconds': 5}}]}}]), ('vol-proj-conflict', 'spec.volumes', [{'name': 'v', 'projected': {'sources': [{'secret': {'name': 'a', 'items': [{'key': 'k', 'path': 'p'}]}}, {'configMap': {'name': 'a', 'items': [{'key': 'k', 'path': 'p'}]}}]}}]), ('vol-downward', 'spec.volumes', [{'name': 'v', 'downwardAPI': {'items': [{'path': 'x'}]}}]), ('vol-downward-field', 'spec.volumes', [{'name': 'v', 'downwardAPI': {'items': [{'path': 'x', 'fieldRef': {'fieldPath': 'status.podIP'}}]}}]), ('vol-nfs', 'spec.volumes', [{'name': 'v', 'nfs': {'server': '', 'path': 'rel'}}]), ('vol-csi', 'spec.volumes', [{'name': 'v', 'csi': {'driver': 'A_'}}]), ('vol-ephemeral', 'spec.volumes', [{'name': 'v', 'ephemeral': {}}]), ('vol-image-policy', 'spec.volumes', [{'name': 'v', 'image': {'reference': '', 'pullPolicy': 'X'}}]),
 ('mount-none', c0 + 'volumeMounts', [{'name': 'x', 'mountPath': '/m'}]), ('mount-nopath', 'spec.volumes', [{'name': 'v'}], c0 + 'volumeMounts', [{'name': 'v'}]), ('mount-dup', 'spec.volumes', [{'name': 'v'}], c0 + 'volumeMounts', [{'name': 'v', 'mountPath': '/m'}, {'name': 'v', 'mountPath': '/m'}]), ('mount-subpath', 'spec.volumes', [{'name': 'v'}], c0 + 'volumeMounts', [{'name': 'v', 'mountPath': '/m', 'subPath': '../x'}]), ('mount-subpathboth', 'spec.volumes', [{'name': 'v'}], c0 + 'volumeMounts', [{'name': 'v', 'mountPath': '/m', 'subPath': 'x', 'subPathExpr': 'y'}]), ('mount-prop', 'spec.volumes', [{'name': 'v'}], c0 + 'volumeMounts', [{'name': 'v', 'mountPath': '/m', 'mountPropagation': 'Bidirectional'}]), ('mount-rro', 'spec.volumes', [{'name': 'v'}], c0 + 'volumeMounts', [{'name': 'v', 'mountPath': '/m', 'recursiveReadOnly': 'Enabled'}]), ('device', c0 + 'volumeDevices', [{'name': 'v', 'devicePath': '/d'}]),
 ('restart', 'spec.restartPolicy', 'Sometimes'), ('dns', 'spec.dnsPolicy', 'X'), ('dns-none', 'spec.dnsPolicy', 'None'), ('dns-ns', 'spec.dnsConfig', {'nameservers': ['1.1.1.1', '2.2.2.2', '3.3.3.3', '4.4.4.4']}), ('dns-badip', 'spec.dnsConfig', {'nameservers': ['x']}), ('dns-search', 'spec.dnsConfig', {'searches': ['A_']}), ('grace-neg', 'spec.terminationGracePeriodSeconds', -1), ('deadline', 'spec.activeDeadlineSeconds', 0), ('nodename', 'spec.nodeName', 'A_'), ('nodeselector', 'spec.nodeSelector', {'a b': 'c'}), ('sa-missing', 'spec.serviceAccountName', 'nope'), ('sa-bad', 'spec.serviceAccountName', 'A_'), ('hostname', 'spec.hostname', 'a.b'), ('hostname-long', 'spec.hostname', L(64)), ('subdomain', 'spec.subdomain', 'A'), ('scheduler', 'spec.schedulerName', ''), ('priority', 'spec.priorityClassName', 'nope'), ('priority-num', 'spec.priority', 5), ('runtimeclass', 'spec.runtimeClassName', 'nope'), ('overhead', 'spec.overhead', {'cpu': '1'}), ('os', 'spec.os', {'name': 'bsd'}), ('gates', 'spec.schedulingGates', [{'name': 'a'}, {'name': 'a'}]), ('gates-node', 'spec.schedulingGates', [{'name': 'a'}], 'spec.nodeName', 'n'), ('preemption', 'spec.preemptionPolicy', 'X'), ('hostalias', 'spec.hostAliases', [{'ip': 'x', 'hostnames': ['A_']}]), ('sharepid', 'spec.shareProcessNamespace', True, 'spec.hostPID', True), ('hostusers', 'spec.hostUsers', False, 'spec.hostNetwork', True), ('imagepullsecret', 'spec.imagePullSecrets', [{'name': ''}]),
 ('tol-op', 'spec.tolerations', [{'key': 'a', 'operator': 'X'}]), ('tol-exists-val', 'spec.tolerations', [{'key': 'a', 'operator': 'Exists', 'value': 'x'}]), ('tol-nokey', 'spec.tolerations', [{'value': 'x'}]), ('tol-effect', 'spec.tolerations', [{'key': 'a', 'operator': 'Exists', 'effect': 'X'}]), ('tol-seconds', 'spec.tolerations', [{'key': 'a', 'operator': 'Exists', 'tolerationSeconds': 3}]), ('aff-weight', 'spec.affinity', {'nodeAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': 101, 'preference': {}}]}}), ('aff-noterms', 'spec.affinity', {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': []}}}), ('aff-op', 'spec.affinity', {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': [{'matchExpressions': [{'key': 'a', 'operator': 'X'}]}]}}}), ('aff-in-none', 'spec.affinity', {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': [{'matchExpressions': [{'key': 'a', 'operator': 'In'}]}]}}}), ('aff-gt', 'spec.affinity', {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': [{'matchExpressions': [{'key': 'a', 'operator': 'Gt', 'values': ['x']}]}]}}}), ('aff-topo', 'spec.affinity', {'podAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': [{'labelSelector': SEL}]}}), ('aff-sel', 'spec.affinity', {'podAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': [{'topologyKey': 'z', 'labelSelector': {'matchExpressions': [{'key': 'a', 'operator': 'In'}]}}]}}), ('spread', 'spec.topologySpreadConstraints', [{'maxSkew': 0, 'whenUnsatisfiable': 'X'}]), ('spread-dup', 'spec.topologySpreadConstraints', [{'maxSkew': 1, 'topologyKey': 'z', 'whenUnsatisfiable': 'DoNotSchedule'}] * 2), ('spread-mindomains', 'spec.topologySpreadConstraints', [{'maxSkew': 1, 'topologyKey': 'z', 'whenUnsatisfiable': 'ScheduleAnyway', 'minDomains': 2}]),
 ('sc-user', 'spec.securityContext', {'runAsUser': -1}), ('sc-sysctl', 'spec.securityContext', {'sysctls': [{'name': 'A b', 'value': ''}]}), ('sc-sysctl-dup', 'spec.securityContext', {'sysctls': [{'name': 'a', 'value': ''}, {'name': 'a', 'value': ''}]}), ('sc-seccomp', 'spec.securityContext', {'seccompProfile': {'type': 'X'}}), ('sc-seccomp-local', 'spec.securityContext', {'seccompProfile': {'type': 'Localhost'}}), ('sc-privesc', c0 + 'securityContext', {'privileged': True, 'allowPrivilegeEscalation': False}), ('sc-procmount', c0 + 'securityContext', {'procMount': 'X'}), ('sc-fsgrouppolicy', 'spec.securityContext', {'fsGroupChangePolicy': 'X'}), ('sc-apparmor', c0 + 'securityContext', {'appArmorProfile': {'type': 'Localhost'}}), ('sc-windows', 'spec.os', {'name': 'linux'}, 'spec.securityContext', {'windowsOptions': {'runAsUserName': 'x'}}),
 ('resize-policy', c0 + 'resizePolicy', [{'resourceName': 'gpu', 'restartPolicy': 'X'}]), ('init-restart', 'spec.initContainers', [{'name': 'i', 'image': 'i', 'restartPolicy': 'Nope'}]), ('ephemeral-create', 'spec.ephemeralContainers', [{'name': 'e', 'image': 'e'}]), ('resourceclaims', 'spec.resourceClaims', [{'name': 'a'}]), ('podres-unsupported', 'spec.resources', {'limits': {'ephemeral-storage': '1Gi'}}), ('podres-less', 'spec.resources', {'requests': {'cpu': '1'}}, c0 + 'resources', {'requests': {'cpu': '2'}}), ('many', {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'A'}, 'spec': {'containers': [{'name': 'A', 'image': '', 'ports': [{'containerPort': 0}]}], 'restartPolicy': 'x', 'dnsPolicy': 'y'}}), ('termmsg', c0 + 'terminationMessagePolicy', 'X'), ('stopsignal', c0 + 'lifecycle', {'stopSignal': 'SIGTERM'}), ('restartrules', c0 + 'restartPolicyRules', [{'action': 'Restart', 'exitCodes': {'operator': 'In', 'values': [1]}}]), ('command-str', c0 + 'command', 'sh'), ('spec-str', 'spec', 'x'), ('meta-str', 'metadata', 'x'), ('bool-str', 'spec.hostNetwork', 'true'), ('unknown-ignored', 'spec.nope', 1),
])
SV = O('Service', 's', spec={'ports': [{'port': 80}]})
v('Service', 'svc', SV, [('noports', 'spec.ports', []), ('nospec', 'spec', None), ('port0', 'spec.ports.0.port', 0), ('portbig', 'spec.ports.0.port', 70000), ('twononame', 'spec.ports', [{'port': 1}, {'port': 2}]), ('dupname', 'spec.ports', [{'port': 1, 'name': 'a'}, {'port': 2, 'name': 'a'}]), ('dupport', 'spec.ports', [{'port': 1, 'name': 'a'}, {'port': 1, 'name': 'b'}]), ('proto', 'spec.ports.0.protocol', 'X'), ('target0', 'spec.ports.0.targetPort', 0), ('targetname', 'spec.ports.0.targetPort', 'UP'), ('type', 'spec.type', 'X'), ('extname-none', 'spec.type', 'ExternalName'), ('extname-bad', 'spec', {'type': 'ExternalName', 'externalName': 'A_b'}), ('ip-bad', 'spec.clusterIP', 'x'), ('ip-range', 'spec.clusterIP', '10.1.1.1'), ('ip-none-lb', 'spec.type', 'LoadBalancer', 'spec.clusterIP', 'None'), ('nodeport-clusterip', 'spec.ports.0.nodePort', 30000), ('nodeport-range', 'spec.type', 'NodePort', 'spec.ports.0.nodePort', 80), ('affinity', 'spec.sessionAffinity', 'X'), ('affinity-timeout', 'spec.sessionAffinity', 'ClientIP', 'spec.sessionAffinityConfig', {'clientIP': {'timeoutSeconds': 0}}), ('affinity-none', 'spec.sessionAffinityConfig', {'clientIP': {'timeoutSeconds': 5}}), ('extip', 'spec.externalIPs', ['x', '127.0.0.1']), ('etp', 'spec.externalTrafficPolicy', 'Local'), ('etp-bad', 'spec.type', 'NodePort', 'spec.externalTrafficPolicy', 'X'), ('itp', 'spec.internalTrafficPolicy', 'X'), ('lbclass', 'spec.loadBalancerClass', 'x'), ('lbsource', 'spec.type', 'LoadBalancer', 'spec.loadBalancerSourceRanges', ['x']), ('hcnp', 'spec.healthCheckNodePort', 30001), ('clusterips', 'spec.clusterIPs', ['10.96.0.5']), ('ipfamilies-dup', 'spec.ipFamilies', ['IPv4', 'IPv4']), ('policy', 'spec.ipFamilyPolicy', 'X'), ('name-num', 'metadata.name', '1a'), ('name-dot', 'metadata.name', 'a.b'), ('name-long', 'metadata.name', L(64)), ('selector', 'spec.selector', {'a b': 'c'}), ('trafficdist', 'spec.trafficDistribution', 'X'), ('appproto', 'spec.ports.0.appProtocol', 'a b'), ('nodeport-dup', 'spec.type', 'NodePort', 'spec.ports', [{'port': 1, 'name': 'a', 'nodePort': 30777}, {'port': 2, 'name': 'b', 'nodePort': 30777}]), ('alloc', 'spec.allocateLoadBalancerNodePorts', False)])
case(V, 'svc-ip-taken', POST(P('Service'), O('Service', 'a', spec={'ports': SP, 'clusterIP': '10.96.88.88'})), POST(P('Service'), O('Service', 'b', spec={'ports': SP, 'clusterIP': '10.96.88.88'})), POST(P('Service'), O('Service', 'c', spec={'ports': [{'port': 1, 'nodePort': 31998}], 'type': 'NodePort'})), POST(P('Service'), O('Service', 'd', spec={'ports': [{'port': 1, 'nodePort': 31998}], 'type': 'NodePort'})))
for kind in ('Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'):
    b = O(kind, 'd', spec=RS)
    v(kind, kind.lower(), b, [('nospec', 'spec', None), ('noselector', 'spec.selector', None), ('emptyselector', 'spec.selector', {}), ('mismatch', 'spec.template.metadata.labels', {'app': 'y'}), ('notemplate', 'spec.template', None), ('restart', 'spec.template.spec.restartPolicy', 'Never'), ('neg', 'spec.replicas' if kind != 'DaemonSet' else 'spec.minReadySeconds', -1), ('selop', 'spec.selector', {'matchExpressions': [{'key': 'a', 'operator': 'Bad'}]}), ('strategy', 'spec.strategy' if kind == 'Deployment' else 'spec.updateStrategy', {'type': 'X'}), ('name', 'metadata.name', 'A'), ('deadline', 'spec.template.spec.activeDeadlineSeconds', 5)])
v('Deployment', 'deploy2', O('Deployment', 'd', spec=RS), [('recreate-ru', 'spec.strategy', {'type': 'Recreate', 'rollingUpdate': {'maxSurge': 1}}), ('both0', 'spec.strategy', {'rollingUpdate': {'maxSurge': 0, 'maxUnavailable': 0}}), ('pct', 'spec.strategy', {'rollingUpdate': {'maxSurge': '10'}}), ('pct2', 'spec.strategy', {'rollingUpdate': {'maxUnavailable': '110%'}}), ('negsurge', 'spec.strategy', {'rollingUpdate': {'maxSurge': -1}}), ('progress', 'spec.progressDeadlineSeconds', 5, 'spec.minReadySeconds', 9), ('history', 'spec.revisionHistoryLimit', -1), ('replicas-str', 'spec.replicas', '3'), ('replicas-big', 'spec.replicas', 1 << 40)])
v('StatefulSet', 'sts2', O('StatefulSet', 'd', spec=RS), [('pmp', 'spec.podManagementPolicy', 'X'), ('partition', 'spec.updateStrategy', {'type': 'RollingUpdate', 'rollingUpdate': {'partition': -1}}), ('retention', 'spec.persistentVolumeClaimRetentionPolicy', {'whenDeleted': 'X'}), ('ordinals', 'spec.ordinals', {'start': -1}), ('vct', 'spec.volumeClaimTemplates', [{'metadata': {'name': 'v'}, 'spec': {}}])])
v('ReplicationController', 'rc', O('ReplicationController', 'd', spec={'template': tmpl()}), [('notemplate', 'spec.template', None), ('neg', 'spec.replicas', -1), ('selector', 'spec.selector', {'z': 'z'})])
JB = O('Job', 'j', spec={'template': JT})
v('Job', 'job', JB, [('restart', 'spec.template.spec.restartPolicy', 'Always'), ('norestart', 'spec.template.spec.restartPolicy', None), ('neg', 'spec.parallelism', -1), ('negc', 'spec.completions', -1), ('backoff', 'spec.backoffLimit', -1), ('deadline', 'spec.activeDeadlineSeconds', -1), ('mode', 'spec.completionMode', 'X'), ('indexed', 'spec.completionMode', 'Indexed'), ('selector', 'spec.selector', SEL), ('bpi', 'spec.backoffLimitPerIndex', 1), ('ttl', 'spec.ttlSecondsAfterFinished', -1), ('managedby', 'spec.managedBy', 'x'), ('pfp', 'spec.podFailurePolicy', {'rules': [{'action': 'X'}]}), ('pfp-exit', 'spec.podFailurePolicy', {'rules': [{'action': 'FailJob', 'onExitCodes': {'operator': 'In', 'values': [0, 0]}}]}), ('pfp-restart', 'spec.template.spec.restartPolicy', 'OnFailure', 'spec.podFailurePolicy', {'rules': []}), ('success', 'spec.successPolicy', {'rules': []}), ('replacement', 'spec.podReplacementPolicy', 'X'), ('name', 'metadata.name', L(64)), ('manual', 'spec.manualSelector', True)])
CJ = O('CronJob', 'j', spec={'schedule': '* * * * *', 'jobTemplate': {'spec': {'template': JT}}})
v('CronJob', 'cronjob', CJ, [('sched', 'spec.schedule', 'x'), ('sched-none', 'spec.schedule', None), ('sched6', 'spec.schedule', '* * * * * *'), ('sched-range', 'spec.schedule', '61 * * * *'), ('sched-tz', 'spec.schedule', 'TZ=UTC * * * * *'), ('tz', 'spec.timeZone', 'Mars/X'), ('tz-local', 'spec.timeZone', 'Local'), ('tz-empty', 'spec.timeZone', ''), ('policy', 'spec.concurrencyPolicy', 'X'), ('neg', 'spec.startingDeadlineSeconds', -1), ('hist', 'spec.failedJobsHistoryLimit', -1), ('name-long', 'metadata.name', L(53)), ('restart', 'spec.jobTemplate.spec.template.spec.restartPolicy', 'Always'), ('sched-every', 'spec.schedule', '@every 5m'), ('sched-bad-at', 'spec.schedule', '@never'), ('sched-step0', 'spec.schedule', '*/0 * * * *'), ('sched-names', 'spec.schedule', '0 0 * JAN MON-FRI'), ('sched-rev', 'spec.schedule', '5-1 * * * *')])
PC = O('PersistentVolumeClaim', 'c', spec=PVCS)
v('PersistentVolumeClaim', 'pvc', PC, [('nomode', 'spec.accessModes', []), ('badmode', 'spec.accessModes', ['X']), ('rwop', 'spec.accessModes', ['ReadWriteOncePod', 'ReadWriteOnce']), ('nores', 'spec.resources', None), ('zero', 'spec.resources.requests.storage', '0'), ('neg', 'spec.resources.requests.storage', '-1'), ('volmode', 'spec.volumeMode', 'X'), ('sc', 'spec.storageClassName', 'A_'), ('ds', 'spec.dataSource', {'kind': 'X', 'name': ''}), ('dsref', 'spec.dataSourceRef', {'kind': 'X', 'name': 'y'}), ('dsboth', 'spec.dataSource', {'kind': 'PersistentVolumeClaim', 'name': 'a'}, 'spec.dataSourceRef', {'kind': 'PersistentVolumeClaim', 'name': 'b'}), ('sel', 'spec.selector', {'matchLabels': {'a b': ''}})])
v('PersistentVolume', 'pv', O('PersistentVolume', 'kg-pvv', spec=PVS), [('nocap', 'spec.capacity', None), ('nosource', 'spec.hostPath', None), ('two', 'spec.nfs', {'server': 'a', 'path': '/b'}), ('nomode', 'spec.accessModes', None), ('recycle', 'spec.persistentVolumeReclaimPolicy', 'Recycle'), ('policy', 'spec.persistentVolumeReclaimPolicy', 'X'), ('local-noaff', 'spec.hostPath', None, 'spec.local', {'path': '/x'}), ('capbad', 'spec.capacity', {'cpu': '1'}), ('neg', 'spec.capacity.storage', '-1Gi'), ('csi', 'spec.hostPath', None, 'spec.csi', {}), ('volmode', 'spec.volumeMode', 'X')], ns=None)
IG = O('Ingress', 'i', spec={'rules': [{'host': 'a.example.com', 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 's', 'port': {'number': 80}}}}]}}]})
ip = 'spec.rules.0.http.paths.0.'
v('Ingress', 'ing', IG, [('nospec', 'spec', None), ('host', 'spec.rules.0.host', 'A_'), ('hostip', 'spec.rules.0.host', '1.2.3.4'), ('wild', 'spec.rules.0.host', '*.*.com'), ('pathtype', ip + 'pathType', None), ('pathtype2', ip + 'pathType', 'X'), ('relpath', ip + 'path', 'x'), ('dotpath', ip + 'path', '/a/../b'), ('slash', ip + 'path', '//a'), ('nobackend', ip + 'backend', {}), ('both', ip + 'backend.resource', {'kind': 'a', 'name': 'b'}), ('portboth', ip + 'backend.service.port', {'number': 1, 'name': 'x'}), ('portnone', ip + 'backend.service.port', {}), ('svcname', ip + 'backend.service.name', 'A'), ('tls', 'spec.tls', [{'hosts': ['A_']}]), ('class', 'spec.ingressClassName', 'A_'), ('nopaths', 'spec.rules.0.http.paths', []), ('classboth', 'metadata.annotations', {'kubernetes.io/ingress.class': 'x'}, 'spec.ingressClassName', 'y')])
v('NetworkPolicy', 'netpol', O('NetworkPolicy', 'n', spec={'podSelector': {}}), [('peer', 'spec.ingress', [{'from': [{}]}]), ('both', 'spec.ingress', [{'from': [{'ipBlock': {'cidr': '10.0.0.0/8'}, 'podSelector': {}}]}]), ('cidr', 'spec.ingress', [{'from': [{'ipBlock': {'cidr': 'x'}}]}]), ('except', 'spec.ingress', [{'from': [{'ipBlock': {'cidr': '10.0.0.0/8', 'except': ['11.0.0.0/8']}}]}]), ('port', 'spec.ingress', [{'ports': [{'port': 0}]}]), ('portname', 'spec.ingress', [{'ports': [{'port': 'UP_'}]}]), ('endport', 'spec.ingress', [{'ports': [{'port': 9, 'endPort': 3}]}]), ('endport-name', 'spec.ingress', [{'ports': [{'port': 'a', 'endPort': 3}]}]), ('types', 'spec.policyTypes', ['X']), ('types3', 'spec.policyTypes', ['Ingress', 'Egress', 'Ingress']), ('proto', 'spec.egress', [{'ports': [{'protocol': 'X', 'port': 1}]}]), ('sel', 'spec.podSelector', {'matchExpressions': [{'key': 'a', 'operator': 'Exists', 'values': ['x']}]})])
HP = O('HorizontalPodAutoscaler', 'h', spec=HR)
v('HorizontalPodAutoscaler', 'hpa', HP, [('max0', 'spec.maxReplicas', 0), ('minmax', 'spec.minReplicas', 5), ('min0', 'spec.minReplicas', 0), ('noref', 'spec.scaleTargetRef', {}), ('metrictype', 'spec.metrics', [{'type': 'X'}]), ('resource-none', 'spec.metrics', [{'type': 'Resource'}]), ('target', 'spec.metrics', [{'type': 'Resource', 'resource': {'name': 'cpu', 'target': {'type': 'Utilization'}}}]), ('target2', 'spec.metrics', [{'type': 'Resource', 'resource': {'name': 'cpu', 'target': {'type': 'Utilization', 'averageUtilization': 50, 'averageValue': '5'}}}]), ('neg', 'spec.metrics', [{'type': 'Resource', 'resource': {'name': 'cpu', 'target': {'type': 'Utilization', 'averageUtilization': -1}}}]), ('behavior', 'spec.behavior', {'scaleUp': {'policies': [{'type': 'X', 'value': 0, 'periodSeconds': 9999}]}}), ('window', 'spec.behavior', {'scaleDown': {'stabilizationWindowSeconds': 9999}}), ('nopolicies', 'spec.behavior', {'scaleDown': {'policies': []}})])
v('PodDisruptionBudget', 'pdb', O('PodDisruptionBudget', 'b', spec={'selector': SEL}), [('both', 'spec.minAvailable', 1, 'spec.maxUnavailable', 1), ('neg', 'spec.minAvailable', -1), ('pct', 'spec.minAvailable', '101%'), ('str', 'spec.minAvailable', 'x'), ('policy', 'spec.unhealthyPodEvictionPolicy', 'X'), ('sel', 'spec.selector', {'matchExpressions': [{'key': 'a', 'operator': 'NotIn'}]})])
v('Role', 'role', O('Role', 'r', rules=RU), [('noverbs', 'rules.0.verbs', []), ('nogroups', 'rules.0.apiGroups', []), ('nores', 'rules.0.resources', []), ('nonres', 'rules.0.nonResourceURLs', ['/x']), ('name-colon', 'metadata.name', 'a:b'), ('name-slash', 'metadata.name', 'a/b'), ('name-dotdot', 'metadata.name', '..')])
RBD = O('RoleBinding', 'r', roleRef={'kind': 'Role', 'name': 'z', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[{'kind': 'User', 'name': 'u', 'apiGroup': 'rbac.authorization.k8s.io'}])
v('RoleBinding', 'rolebinding', RBD, [('kind', 'roleRef.kind', 'X'), ('group', 'roleRef.apiGroup', 'x'), ('noname', 'roleRef.name', ''), ('subkind', 'subjects.0.kind', 'X'), ('subgroup', 'subjects.0.apiGroup', 'x'), ('saname', 'subjects.0', {'kind': 'ServiceAccount', 'name': 'A_'}), ('sans', 'subjects.0', {'kind': 'ServiceAccount', 'name': 'a'}), ('subname', 'subjects.0.name', '')])
v('ClusterRole', 'clusterrole', O('ClusterRole', 'kg-v', rules=RU), [('mixed', 'rules.0.nonResourceURLs', ['/x']), ('url', 'rules', [{'nonResourceURLs': ['/a/*b'], 'verbs': ['get']}]), ('aggr', 'aggregationRule', {'clusterRoleSelectors': []})], ns=None)
v('PriorityClass', 'pc', O('PriorityClass', 'kg-v', value=1), [('high', 'value', 2000000000), ('system', 'metadata.name', 'system-x'), ('policy', 'preemptionPolicy', 'X'), ('name', 'metadata.name', 'A_'), ('valuestr', 'value', 'x')], ns=None)
v('StorageClass', 'sc', O('StorageClass', 'kg-v', provisioner='p.example.com'), [('noprov', 'provisioner', None), ('prov', 'provisioner', 'A b'), ('policy', 'reclaimPolicy', 'X'), ('binding', 'volumeBindingMode', 'X'), ('param', 'parameters', {'': 'x'}), ('topo', 'allowedTopologies', [{'matchLabelExpressions': [{'key': 'z'}]}])], ns=None)
v('RuntimeClass', 'rtc', O('RuntimeClass', 'kg-v', handler='h'), [('nohandler', 'handler', None), ('handler', 'handler', 'A_'), ('overhead', 'overhead', {'podFixed': {'nope': '1'}})], ns=None)
v('ConfigMap', 'cm', cm(), [('key', 'data', {'a b': 'c'}), ('keydot', 'data', {'..': 'c'}), ('keylong', 'data', {L(254): 'c'}), ('dup', 'binaryData', {'k': B64}), ('b64', 'binaryData', {'z': '!!'}), ('int', 'data', {'a': 1}), ('big', 'data', {'a': 'x' * 1100000}), ('name', 'metadata.name', 'A'), ('null', 'data', {'a': None})])
v('Secret', 'secret', O('Secret', 's', data={'k': B64}), [('key', 'data', {'a b': B64}), ('b64', 'data', {'a': '!'}), ('tls', 'type', 'kubernetes.io/tls'), ('basic', 'type', 'kubernetes.io/basic-auth'), ('ssh', 'type', 'kubernetes.io/ssh-auth'), ('dockercfg', 'type', 'kubernetes.io/dockercfg'), ('dockerjson', 'type', 'kubernetes.io/dockerconfigjson', 'data', {'.dockerconfigjson': B64}), ('satoken', 'type', 'kubernetes.io/service-account-token'), ('big', 'stringData', {'a': 'x' * 1100000}), ('satoken-missing', 'type', 'kubernetes.io/service-account-token', 'metadata.annotations', {'kubernetes.io/service-account.name': 'nope'})])
v('ServiceAccount', 'sa', O('ServiceAccount', 'a'), [('name', 'metadata.name', 'A_'), ('default', 'metadata.name', 'a..b')])
v('Namespace', 'ns', O('Namespace', 'kg-v'), [('dot', 'metadata.name', 'a.b'), ('long', 'metadata.name', L(64)), ('upper', 'metadata.name', 'A'), ('namespaced', 'metadata.namespace', 'x'), ('finalizer', 'spec', {'finalizers': ['x']}), ('pss', 'metadata.labels', {'pod-security.kubernetes.io/enforce': 'nope'}), ('pssver', 'metadata.labels', {'pod-security.kubernetes.io/enforce-version': 'x'}), ('label', 'metadata.labels', {'kubernetes.io/metadata.name': 'other'})], ns=None)
v('Node', 'node', O('Node', 'kg-v'), [('taint', 'spec', {'taints': [{'key': 'a', 'effect': 'X'}]}), ('taintdup', 'spec', {'taints': [{'key': 'a', 'effect': 'NoExecute'}] * 2}), ('cidr', 'spec', {'podCIDR': 'x'}), ('name', 'metadata.name', 'A_'), ('cap', 'status', {'capacity': {'cpu': '-1'}})], ns=None)
v('LimitRange', 'lr', O('LimitRange', 'l', spec={'limits': []}), [('type', 'spec.limits', [{'type': ''}]), ('minmax', 'spec.limits', [{'type': 'Container', 'min': {'cpu': '2'}, 'max': {'cpu': '1'}}]), ('default', 'spec.limits', [{'type': 'Container', 'default': {'cpu': '2'}, 'max': {'cpu': '1'}}]), ('poddefault', 'spec.limits', [{'type': 'Pod', 'default': {'cpu': '2'}}]), ('dup', 'spec.limits', [{'type': 'Container'}, {'type': 'Container'}]), ('ratio', 'spec.limits', [{'type': 'Container', 'maxLimitRequestRatio': {'cpu': '500m'}}]), ('pvc', 'spec.limits', [{'type': 'PersistentVolumeClaim'}])], sort_causes=True)
v('ResourceQuota', 'rq', O('ResourceQuota', 'q', spec={'hard': {'pods': '1'}}), [('bad', 'spec.hard', {'nope': '1'}), ('neg', 'spec.hard', {'pods': '-1'}), ('frac', 'spec.hard', {'pods': '1.5'}), ('scope', 'spec.scopes', ['X']), ('scoperes', 'spec.scopes', ['BestEffort'], 'spec.hard', {'cpu': '1'}), ('scopeboth', 'spec.scopes', ['BestEffort', 'NotBestEffort']), ('scopesel', 'spec.scopeSelector', {'matchExpressions': [{'scopeName': 'PriorityClass', 'operator': 'In'}]}), ('scopesel2', 'spec.scopeSelector', {'matchExpressions': [{'scopeName': 'Terminating', 'operator': 'In', 'values': ['a']}]}), ('str', 'spec.hard', {'pods': 'x'})], sort_causes=True)
v('EndpointSlice', 'eps', O('EndpointSlice', 'e', addressType='IPv4', endpoints=[{'addresses': ['10.1.2.3']}]), [('type', 'addressType', 'X'), ('notype', 'addressType', None), ('addr', 'endpoints.0.addresses', ['x']), ('noaddr', 'endpoints.0.addresses', []), ('v6', 'endpoints.0.addresses', ['::1']), ('port', 'ports', [{'port': 0}]), ('dupports', 'ports', [{'port': 1}, {'port': 2}]), ('loopback', 'endpoints.0.addresses', ['127.0.0.1']), ('topology', 'endpoints.0.deprecatedTopology', {'kubernetes.io/hostname': 'x'})])
v('Endpoints', 'ep', O('Endpoints', 'e', subsets=[{'addresses': [{'ip': '10.1.2.3'}], 'ports': [{'port': 80}]}]), [('ip', 'subsets.0.addresses.0.ip', 'x'), ('loop', 'subsets.0.addresses.0.ip', '127.0.0.1'), ('none', 'subsets.0.addresses', []), ('port', 'subsets.0.ports.0.port', 0), ('proto', 'subsets.0.ports.0.protocol', 'X')])
v('Event', 'event', O('Event', 'e', involvedObject=INV), [('ns', 'involvedObject.namespace', 'other'), ('noobj', 'involvedObject', {}), ('cluster', 'involvedObject', {'kind': 'Node', 'name': 'n'})])
v('Event@events.k8s.io/v1', 'eventv1', O('Event@events.k8s.io/v1', 'e', eventTime='2020-01-01T00:00:00.000001Z', reportingController='x.example.com/y', reportingInstance='i', action='A', reason='R', type='Normal', regarding=INV), [('notime', 'eventTime', None), ('nocontroller', 'reportingController', None), ('noreason', 'reason', None), ('type', 'type', 'X'), ('note', 'note', 'x' * 1025), ('noaction', 'action', None), ('deprecated', 'deprecatedCount', 1)])
v('Lease', 'lease', O('Lease', 'l', spec={}), [('dur', 'spec.leaseDurationSeconds', 0), ('trans', 'spec.leaseTransitions', -1), ('holder', 'spec.holderIdentity', ''), ('strategy', 'spec.strategy', 'X')])
v('CertificateSigningRequest', 'csr', O('CertificateSigningRequest', 'kg-v', spec={'request': CSR64, 'signerName': 'kg.example.com/x', 'usages': ['client auth']}), [('req', 'spec.request', B64), ('noreq', 'spec.request', None), ('signer', 'spec.signerName', 'x'), ('legacy', 'spec.signerName', 'kubernetes.io/legacy-unknown'), ('nosigner', 'spec.signerName', None), ('usage', 'spec.usages', ['x']), ('usagedup', 'spec.usages', ['client auth', 'client auth']), ('nousage', 'spec.usages', []), ('exp', 'spec.expirationSeconds', 5)], ns=None)
v('FlowSchema', 'fs', O('FlowSchema', 'kg-v', spec={'priorityLevelConfiguration': {'name': 'workload-low'}}), [('prec', 'spec.matchingPrecedence', 0), ('prec2', 'spec.matchingPrecedence', 10001), ('method', 'spec.distinguisherMethod', {'type': 'X'}), ('rule', 'spec.rules', [{}]), ('subject', 'spec.rules', [{'subjects': [{'kind': 'X'}], 'nonResourceRules': [{'verbs': ['get'], 'nonResourceURLs': ['/x']}]}]), ('plname', 'spec.priorityLevelConfiguration.name', 'A_')], ns=None)
v('PriorityLevelConfiguration', 'plc', O('PriorityLevelConfiguration', 'kg-v', spec={'type': 'Limited', 'limited': {'limitResponse': {'type': 'Queue', 'queuing': {}}}}), [('type', 'spec.type', 'X'), ('nolimited', 'spec.limited', None), ('resp', 'spec.limited.limitResponse', {'type': 'X'}), ('reject', 'spec.limited.limitResponse', {'type': 'Reject', 'queuing': {}}), ('shares', 'spec.limited.nominalConcurrencyShares', -1), ('lend', 'spec.limited.lendablePercent', 101), ('hand', 'spec.limited.limitResponse.queuing', {'queues': 2, 'handSize': 5})], ns=None)
for k in ('ValidatingWebhookConfiguration', 'MutatingWebhookConfiguration'):
    v(k, k[:10].lower() + 'wh', O(k, 'kg-v', webhooks=[WHK]), [('name', 'webhooks.0.name', 'x'), ('dup', 'webhooks', [WHK, WHK]), ('noclient', 'webhooks.0.clientConfig', {}), ('http', 'webhooks.0.clientConfig', {'url': 'http://x/y'}), ('side', 'webhooks.0.sideEffects', 'X'), ('noside', 'webhooks.0.sideEffects', None), ('versions', 'webhooks.0.admissionReviewVersions', ['v9']), ('timeout', 'webhooks.0.timeoutSeconds', 31), ('policy', 'webhooks.0.failurePolicy', 'X'), ('op', 'webhooks.0.rules.0.operations', ['X']), ('match', 'webhooks.0.matchConditions', [{'name': 'a', 'expression': '1'}]), ('match2', 'webhooks.0.matchConditions', [{'name': 'a', 'expression': 'object.x +'}]), ('ca', 'webhooks.0.clientConfig.caBundle', B64), ('res', 'webhooks.0.rules.0.resources', ['*', 'pods'])], ns=None)
VP = O('ValidatingAdmissionPolicy', 'kg-v', spec=VAPS)
v('ValidatingAdmissionPolicy', 'vap', VP, [('noval', 'spec.validations', []), ('syntax', 'spec.validations.0.expression', 'object.x +'), ('type', 'spec.validations.0.expression', '1'), ('undeclared', 'spec.validations.0.expression', 'nope.x'), ('policy', 'spec.failurePolicy', 'X'), ('noconstraints', 'spec.matchConstraints', None), ('norules', 'spec.matchConstraints.resourceRules', []), ('reason', 'spec.validations.0.reason', 'X'), ('msgexpr', 'spec.validations.0.messageExpression', '1'), ('params', 'spec.validations.0.expression', 'params.x == 1'), ('var', 'spec.variables', [{'name': 'a', 'expression': 'variables.b'}]), ('vardup', 'spec.variables', [{'name': 'a', 'expression': '1'}, {'name': 'a', 'expression': '2'}]), ('varname', 'spec.variables', [{'name': '1a', 'expression': '1'}]), ('audit', 'spec.auditAnnotations', [{'key': 'a b', 'valueExpression': '1'}]), ('paramkind', 'spec.paramKind', {'kind': 'x', 'apiVersion': 'A'}), ('dupcond', 'spec.matchConditions', [{'name': 'a', 'expression': 'true'}, {'name': 'a', 'expression': 'true'}])], ns=None)
v('ValidatingAdmissionPolicyBinding', 'vapb', O('ValidatingAdmissionPolicyBinding', 'kg-v', spec={'policyName': 'kg-x', 'validationActions': ['Deny']}), [('noname', 'spec.policyName', ''), ('noaction', 'spec.validationActions', []), ('action', 'spec.validationActions', ['X']), ('denywarn', 'spec.validationActions', ['Deny', 'Warn']), ('param', 'spec.paramRef', {'name': 'a', 'selector': {}, 'parameterNotFoundAction': 'X'})], ns=None)
v('MutatingAdmissionPolicy', 'map', O('MutatingAdmissionPolicy', 'kg-v', spec=MAPS), [('none', 'spec.mutations', []), ('type', 'spec.mutations.0.patchType', 'X'), ('mixed', 'spec.mutations.0.jsonPatch', {'expression': '[]'}), ('expr', 'spec.mutations.0.applyConfiguration.expression', '1'), ('syntax', 'spec.mutations.0.applyConfiguration.expression', 'Object{'), ('reinv', 'spec.reinvocationPolicy', 'X')], ns=None)
v('CSIDriver', 'csid', O('CSIDriver', 'kg-v', spec={}), [('name', 'metadata.name', 'A_'), ('fsg', 'spec.fsGroupPolicy', 'X'), ('mode', 'spec.volumeLifecycleModes', ['X']), ('aud', 'spec.tokenRequests', [{'audience': 'a'}, {'audience': 'a'}])], ns=None)
v('CSINode', 'csin', O('CSINode', 'kg-v', spec={'drivers': []}), [('drv', 'spec.drivers', [{'name': '', 'nodeID': ''}]), ('dup', 'spec.drivers', [{'name': 'a', 'nodeID': 'b'}] * 2)], ns=None)
v('VolumeAttachment', 'va', O('VolumeAttachment', 'kg-v', spec={'attacher': 'd', 'nodeName': 'n', 'source': {'persistentVolumeName': 'p'}}), [('attacher', 'spec.attacher', ''), ('node', 'spec.nodeName', ''), ('src', 'spec.source', {})], ns=None)
v('VolumeAttributesClass', 'vac', O('VolumeAttributesClass', 'kg-v', driverName='d.example.com', parameters={'a': 'b'}), [('driver', 'driverName', None), ('params', 'parameters', None)], ns=None)
v('ServiceCIDR', 'scidr', O('ServiceCIDR', 'kg-v', spec={'cidrs': ['10.97.0.0/24']}), [('bad', 'spec.cidrs', ['x']), ('none', 'spec.cidrs', []), ('three', 'spec.cidrs', ['10.1.0.0/24', 'fd00::/112', '10.2.0.0/24']), ('same', 'spec.cidrs', ['10.1.0.0/24', '10.2.0.0/24']), ('host', 'spec.cidrs', ['10.1.0.1/24'])], ns=None)
v('IPAddress', 'ipaddr', O('IPAddress', '10.95.0.1', spec={'parentRef': {'resource': 'services', 'name': 's'}}), [('name', 'metadata.name', 'x'), ('canon', 'metadata.name', '010.1.1.1'), ('noref', 'spec', {}), ('res', 'spec.parentRef', {'name': 'x'})], ns=None)
RC = O('ResourceClaim', 'c', spec={'devices': DQ})
v('ResourceClaim', 'rclaim', RC, [('noname', 'spec.devices.requests.0.name', None), ('none', 'spec.devices.requests.0.exactly', None), ('class', 'spec.devices.requests.0.exactly.deviceClassName', ''), ('count', 'spec.devices.requests.0.exactly.count', -1), ('mode', 'spec.devices.requests.0.exactly.allocationMode', 'X'), ('cel', 'spec.devices.requests.0.exactly.selectors', [{'cel': {'expression': 'x +'}}]), ('constraint', 'spec.devices.constraints', [{'matchAttribute': 'x'}]), ('dup', 'spec.devices.requests', DQ['requests'] * 2)])
v('DeviceClass', 'dclass', O('DeviceClass', 'kg-v', spec={}), [('cel', 'spec.selectors', [{'cel': {'expression': '1'}}]), ('name', 'metadata.name', 'A_')], ns=None)
v('ResourceSlice', 'rslice', O('ResourceSlice', 'kg-v', spec={'driver': 'd.example.com', 'nodeName': 'n', 'pool': {'name': 'p', 'generation': 1, 'resourceSliceCount': 1}}), [('two', 'spec.allNodes', True), ('none', 'spec.nodeName', None), ('driver', 'spec.driver', 'A_'), ('pool', 'spec.pool', {'name': ''}), ('dup', 'spec.devices', [{'name': 'a'}] * 2)], ns=None)
v('IngressClass', 'ic', O('IngressClass', 'kg-v', spec={'controller': 'x.example.com/y'}), [('ctl', 'spec.controller', 'x'), ('params', 'spec.parameters', {'kind': '', 'name': ''}), ('scope', 'spec.parameters', {'kind': 'a', 'name': 'b', 'scope': 'Namespace'})], ns=None)
v('ControllerRevision', 'cr', O('ControllerRevision', 'c', revision=1, data={}), [('neg', 'revision', -1), ('nodata', 'data', None)])
v('PodTemplate', 'pt', O('PodTemplate', 't', template=tmpl()), [('empty', 'template', {})])
v('APIService', 'apisvc', O('APIService', 'v1.kgagg.example.com', spec={'group': 'kgagg.example.com', 'version': 'v1', 'groupPriorityMinimum': 100, 'versionPriority': 5, 'service': {'namespace': 'default', 'name': 'nope'}}), [('name', 'metadata.name', 'x'), ('prio', 'spec.groupPriorityMinimum', 0), ('insecure', 'spec.insecureSkipTLSVerify', True, 'spec.caBundle', B64), ('nosvc', 'spec.service', None)], ns=None)
v('TokenReview', 'tr', {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': {'token': 'x'}}, [('none', 'spec.token', '')], ns=None)
v('SubjectAccessReview', 'sar', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': {'user': 'u', 'resourceAttributes': {'verb': 'get', 'resource': 'pods'}}}, [('none', 'spec.resourceAttributes', None), ('both', 'spec.nonResourceAttributes', {'path': '/x', 'verb': 'get'}), ('nouser', 'spec.user', None), ('sel', 'spec.resourceAttributes.labelSelector', {'rawSelector': 'x=y', 'requirements': [{'key': 'a', 'operator': 'Exists'}]})], ns=None)

# updates that are not allowed
def imm(pre, kind, o, rows, sub=None, **k):
    n = o['metadata']['name']
    for r in rows:
        def body(ctx, r=r): return sets(ctx.saved['o'], *r[1:])
        case(V, 'update-' + pre + '-' + r[0], POST(P(kind), o, rec=False, save=lambda c, x: c.saved.__setitem__('o', x.json)), PUT(P(kind, n, sub) + '?dryRun=All', body), **k)
imm('pod', 'Pod', pod(), [('image', c0 + 'image', 'img:2'), ('name', c0 + 'name', 'd'), ('env', c0 + 'env', [{'name': 'a', 'value': 'b'}]), ('add', 'spec.containers.+', {'name': 'z', 'image': 'z'}), ('node', 'spec.nodeName', 'n'), ('tol', 'spec.tolerations', []), ('toladd', 'spec.tolerations.+', {'key': 'z', 'operator': 'Exists'}), ('grace', 'spec.terminationGracePeriodSeconds', 5), ('deadline', 'spec.activeDeadlineSeconds', 50), ('res', c0 + 'resources', {'limits': {'cpu': '1'}}), ('uid', 'metadata.uid', '00000000-0000-0000-0000-000000000001'), ('rname', 'metadata.name', 'other'), ('created', 'metadata.creationTimestamp', '2020-01-01T00:00:00Z'), ('gen', 'metadata.generateName', 'x'), ('status', 'status', {'phase': 'Failed'}), ('deletion', 'metadata.deletionTimestamp', '2020-01-01T00:00:00Z'), ('finalizer', 'metadata.finalizers', ['x.example.com/y']), ('restart', 'spec.restartPolicy', 'Never'), ('sa', 'spec.serviceAccountName', 'x')])
imm('pod-status', 'Pod', pod(), [('phase', 'status.phase', 'X'), ('qos', 'status.qosClass', 'Guaranteed'), ('ip', 'status.podIPs', [{'ip': 'x'}]), ('cs', 'status.containerStatuses', [{'name': 'c', 'ready': True, 'restartCount': -1, 'image': 'i', 'imageID': ''}]), ('ok', 'status.phase', 'Running')], sub='status')
imm('pod-resize', 'Pod', pod(resources={'requests': {'cpu': '1'}, 'limits': {'cpu': '1'}}), [('cpu', c0 + 'resources', {'requests': {'cpu': '2'}, 'limits': {'cpu': '2'}}), ('qos', c0 + 'resources', {'requests': {'cpu': '1', 'memory': '1Gi'}, 'limits': {'cpu': '1', 'memory': '1Gi'}}), ('image', c0 + 'image', 'x'), ('rm', c0 + 'resources', {}), ('ephemeral', c0 + 'resources', {'limits': {'cpu': '1', 'ephemeral-storage': '1Gi'}, 'requests': {'cpu': '1'}})], sub='resize')
imm('pod-eph', 'Pod', pod(), [('add', 'spec.ephemeralContainers', [{'name': 'e', 'image': 'e', 'targetContainerName': 'c'}]), ('dupname', 'spec.ephemeralContainers', [{'name': 'c', 'image': 'e'}]), ('target', 'spec.ephemeralContainers', [{'name': 'e', 'image': 'e', 'targetContainerName': 'zz'}]), ('ports', 'spec.ephemeralContainers', [{'name': 'e', 'image': 'e', 'ports': [{'containerPort': 1}]}]), ('image', c0 + 'image', 'x')], sub='ephemeralcontainers')
imm('deploy', 'Deployment', O('Deployment', 'd', spec=RS), [('selector', 'spec.selector', {'matchLabels': {'app': 'y'}}, 'spec.template.metadata.labels', {'app': 'y'}), ('labels', 'spec.template.metadata.labels', {'app': 'y'}), ('ok', 'spec.replicas', 4)])
imm('sts', 'StatefulSet', O('StatefulSet', 'd', spec=dict(RS, serviceName='s')), [('svc', 'spec.serviceName', 'z'), ('pmp', 'spec.podManagementPolicy', 'Parallel'), ('sel', 'spec.selector', {'matchLabels': {'app': 'y'}}), ('vct', 'spec.volumeClaimTemplates', [{'metadata': {'name': 'v'}, 'spec': PVCS}])])
imm('ds', 'DaemonSet', O('DaemonSet', 'd', spec=RS), [('sel', 'spec.selector', {'matchLabels': {'app': 'y'}}, 'spec.template.metadata.labels', {'app': 'y'})])
imm('job', 'Job', JB, [('template', 'spec.template.spec.containers.0.image', 'x'), ('completions', 'spec.completions', 5), ('selector', 'spec.selector', SEL), ('mode', 'spec.completionMode', 'Indexed'), ('parallel', 'spec.parallelism', 5), ('suspend', 'spec.suspend', True)])
imm('svc', 'Service', SV, [('ip', 'spec.clusterIP', '10.96.7.7'), ('none', 'spec.clusterIP', 'None', 'spec.clusterIPs', ['None']), ('ipdel', 'spec.clusterIP', None), ('ipsdel', 'spec.clusterIPs', None), ('type', 'spec.type', 'ExternalName', 'spec.externalName', 'a.example.com'), ('nodeport', 'spec.type', 'NodePort')])
imm('pvc', 'PersistentVolumeClaim', PC, [('mode', 'spec.accessModes', ['ReadOnlyMany']), ('size', 'spec.resources.requests.storage', '2Gi'), ('sc', 'spec.storageClassName', 'z'), ('vol', 'spec.volumeName', 'v')])
imm('pv', 'PersistentVolume', O('PersistentVolume', 'kg-pvi', spec=PVS), [('src', 'spec.hostPath.path', '/y'), ('mode', 'spec.volumeMode', 'Block'), ('size', 'spec.capacity.storage', '5Gi')], ns=None)
imm('secret', 'Secret', O('Secret', 's', data={'k': B64}), [('type', 'type', 'x.example.com/y'), ('ok', 'data', {})])
imm('secret-immut', 'Secret', O('Secret', 's', data={'k': B64}, immutable=True), [('data', 'data', {}), ('unset', 'immutable', False)])
imm('cm-immut', 'ConfigMap', cm(immutable=True), [('data', 'data', {}), ('unset', 'immutable', None), ('label', 'metadata.labels', {'a': 'b'})])
imm('rb', 'RoleBinding', RBD, [('ref', 'roleRef.name', 'y')])
imm('pc', 'PriorityClass', O('PriorityClass', 'kg-pci', value=7), [('value', 'value', 8), ('policy', 'preemptionPolicy', 'Never'), ('desc', 'description', 'd')], ns=None)
imm('sc', 'StorageClass', O('StorageClass', 'kg-sci', provisioner='p.example.com'), [('prov', 'provisioner', 'q'), ('params', 'parameters', {'a': 'b'}), ('policy', 'reclaimPolicy', 'Retain')], ns=None)
imm('rtc', 'RuntimeClass', O('RuntimeClass', 'kg-rci', handler='h'), [('handler', 'handler', 'i')], ns=None)
imm('eps', 'EndpointSlice', O('EndpointSlice', 'e', addressType='IPv4', endpoints=[]), [('type', 'addressType', 'IPv6')])
imm('ns', 'Namespace', O('Namespace', 'kg-nsi'), [('fin', 'spec.finalizers', []), ('label', 'metadata.labels', {})], ns=None)
imm('node', 'Node', O('Node', 'kg-nodei', spec={'podCIDR': '10.244.0.0/24', 'providerID': 'a://b'}), [('cidr', 'spec.podCIDR', '10.244.1.0/24'), ('prov', 'spec.providerID', 'c://d'), ('unsched', 'spec.unschedulable', True)], ns=None)
imm('csr', 'CertificateSigningRequest', O('CertificateSigningRequest', 'kg-csri', spec={'request': CSR64, 'signerName': 'kg.example.com/x', 'usages': ['client auth']}), [('spec', 'spec.usages', ['server auth'])], ns=None)
imm('cr', 'ControllerRevision', O('ControllerRevision', 'c', revision=1, data={'a': 1}), [('data', 'data', {'a': 2}), ('rev', 'revision', 5)])
imm('rclaim', 'ResourceClaim', RC, [('spec', 'spec.devices.requests.0.name', 'z')])
imm('rct', 'ResourceClaimTemplate', O('ResourceClaimTemplate', 'c', spec={'spec': {'devices': DQ}}), [('spec', 'spec.spec.devices.requests.0.name', 'z')])
imm('ic', 'IngressClass', O('IngressClass', 'kg-ici', spec={'controller': 'x.example.com/y'}), [('ctl', 'spec.controller', 'x.example.com/z')], ns=None)
imm('vac', 'VolumeAttributesClass', O('VolumeAttributesClass', 'kg-vaci', driverName='d.example.com', parameters={'a': 'b'}), [('p', 'parameters', {'a': 'c'}), ('d', 'driverName', 'e')], ns=None)
imm('csid', 'CSIDriver', O('CSIDriver', 'kg-di', spec={}), [('attach', 'spec.attachRequired', False)], ns=None)
imm('scidr', 'ServiceCIDR', O('ServiceCIDR', 'kg-sci', spec={'cidrs': ['10.98.0.0/24']}), [('c', 'spec.cidrs', ['10.99.0.0/24'])], ns=None)
imm('ipaddr', 'IPAddress', O('IPAddress', '10.95.0.7', spec={'parentRef': {'resource': 'services', 'name': 's'}}), [('ref', 'spec.parentRef.name', 't')], ns=None)
imm('rq', 'ResourceQuota', O('ResourceQuota', 'q', spec={'hard': {'count/kgnone.example.com': '1'}}), [('scopes', 'metadata.resourceVersion', None, 'spec.scopes', ['BestEffort'])])

# ---------------------------------------------------------------- group: patch
PA = 'patch'
CM = cm('c', {'a': '1', 'b': '2'}, {'labels': {'l': '1'}, 'annotations': {'n': '1'}})
def pc(cid, o, ct, *patches, kind=None, sub=None, q='', **k):
    kind = kind or o['kind']
    n = o['metadata']['name']
    case(PA, cid, POST(P(kind), o, rec=False), *[PATCH(P(kind, n, sub) + q, b, ct) for b in patches], **k)
J = lambda *ops: [dict(zip(('op', 'path', 'value'), o)) if o[0] not in ('move', 'copy') else {'op': o[0], 'from': o[1], 'path': o[2]} for o in ops]
for i, ops in {'add': [('add', '/data/c', '3')], 'replace': [('replace', '/data/a', '9')], 'remove': [('remove', '/data/a')], 'remove-missing': [('remove', '/data/zz')], 'replace-missing': [('replace', '/data/zz', '1')], 'test-ok': [('test', '/data/a', '1'), ('add', '/data/d', 'x')], 'test-fail': [('test', '/data/a', '2'), ('add', '/data/d', 'x')], 'test-missing': [('test', '/data/zz', '2')],
    'move': [('move', '/data/a', '/data/z')], 'copy': [('copy', '/data/a', '/data/z')], 'copy-missing': [('copy', '/data/q', '/data/z')], 'escape': [('add', '/metadata/annotations/x.example.com~1y~0z', 'v')], 'add-root': [('add', '', {})], 'bad-op': [('nope', '/data/a', '1')], 'bad-path': [('add', 'data/a', '1')], 'no-parent': [('add', '/x/y/z', '1')], 'noop': [('replace', '/data/a', '1')], 'empty': [], 'name': [('replace', '/metadata/name', 'z')], 'ns': [('replace', '/metadata/namespace', 'z')], 'kind': [('replace', '/kind', 'Secret')], 'uid': [('replace', '/metadata/uid', 'x')], 'rv-bad': [('replace', '/metadata/resourceVersion', '1')], 'rv-nonnum': [('replace', '/metadata/resourceVersion', 'x')], 'invalid-result': [('add', '/data/a b', '1')], 'wrong-type': [('add', '/data/a', 5)], 'null-value': [('replace', '/data/a', None)], 'add-unknown': [('add', '/nope', 1)]}.items():
    pc('json-' + i, CM, JP, J(*ops))
pc('json-not-array', CM, JP, {'op': 'add'}); pc('json-missing-fields', CM, JP, [{}], [{'op': 'add'}], [{'op': 'add', 'path': '/data/x'}]); pc('json-garbage', CM, JP, 'nope', '')
pc('json-many', CM, JP, [{'op': 'add', 'path': '/data/k%d' % i, 'value': 'v'} for i in range(10001)])
LP = pod('p', {'tolerations': [{'key': 'a', 'operator': 'Exists'}]}, {'labels': {'x': 'y'}})
pc('json-list', LP, JP, J(('add', '/spec/tolerations/-', {'key': 'b', 'operator': 'Exists'})), J(('add', '/spec/tolerations/0', {'key': 'c', 'operator': 'Exists'})), J(('add', '/spec/tolerations/99', {})), J(('remove', '/spec/tolerations/-1')), J(('replace', '/spec/containers/0/image', 'z:2')), J(('test', '/spec/containers/0/image', 'z:2')))
for i, b in {'set': {'data': {'a': '9', 'c': '3'}}, 'delete': {'data': {'a': None}}, 'delete-missing': {'data': {'zz': None}}, 'delete-map': {'data': None}, 'labels-null': {'metadata': {'labels': None}}, 'empty': {}, 'noop': {'data': {'a': '1'}}, 'name': {'metadata': {'name': 'z'}}, 'apiversion': {'apiVersion': 'v2'}, 'kind': {'kind': 'Secret'}, 'rv': {'metadata': {'resourceVersion': '1'}}, 'array': [], 'type': {'data': {'a': 1}}, 'type2': {'data': 'x'}, 'unknown': {'nope': 1}, 'null': 'null', 'garbage': '{', 'uid': {'metadata': {'uid': '00000000-0000-0000-0000-000000000001'}}, 'invalid': {'data': {'a b': 'x'}}, 'managedfields-reset': {'metadata': {'managedFields': [{}]}}, 'managedfields-empty': {'metadata': {'managedFields': []}}, 'deletion': {'metadata': {'deletionTimestamp': '2020-01-01T00:00:00Z'}}, 'finalizer': {'metadata': {'finalizers': ['x.example.com/y']}}}.items():
    pc('merge-' + i, CM, MP, b)
pc('merge-list-replace', LP, MP, {'spec': {'tolerations': [{'key': 'z', 'operator': 'Exists'}]}}, {'spec': {'containers': [{'name': 'c', 'image': 'n:9'}]}})
DP = O('Deployment', 'd', spec={'selector': SEL, 'template': {'metadata': {'labels': {'app': 'x'}}, 'spec': {'containers': [{'name': 'a', 'image': 'a:1', 'ports': [{'containerPort': 80}], 'env': [{'name': 'E', 'value': '1'}, {'name': 'F', 'value': '2'}], 'args': ['x', 'y']}, {'name': 'b', 'image': 'b:1'}], 'volumes': [{'name': 'v', 'emptyDir': {}}, {'name': 'w', 'configMap': {'name': 'm'}}], 'tolerations': [{'key': 'k', 'operator': 'Exists'}], 'imagePullSecrets': [{'name': 's1'}, {'name': 's2'}]}}})
T = lambda **s: {'spec': {'template': {'spec': s}}}
for i, b in {'merge-container': T(containers=[{'name': 'a', 'image': 'a:2'}]), 'add-container': T(containers=[{'name': 'z', 'image': 'z:1'}]), 'delete-container': T(containers=[{'name': 'a', '$patch': 'delete'}]), 'replace-list': T(containers=[{'name': 'n', 'image': 'n:1'}, {'$patch': 'replace'}]), 'no-key': T(containers=[{'image': 'a:2'}]), 'env-merge': T(containers=[{'name': 'a', 'env': [{'name': 'E', 'value': '9'}, {'name': 'G', 'value': '3'}]}]), 'env-null-value': T(containers=[{'name': 'a', 'env': [{'name': 'E', 'value': None}]}]), 'env-delete': T(containers=[{'name': 'a', 'env': [{'name': 'E', '$patch': 'delete'}]}]), 'ports-key': T(containers=[{'name': 'a', 'ports': [{'containerPort': 80, 'name': 'http'}, {'containerPort': 81}]}]), 'args-replace': T(containers=[{'name': 'a', 'args': ['z']}]), 'tol-replace': T(tolerations=[{'key': 'z', 'operator': 'Exists'}]), 'order': T(**{'$setElementOrder/containers': [{'name': 'b'}, {'name': 'a'}]}), 'order-add': T(**{'$setElementOrder/containers': [{'name': 'b'}, {'name': 'z'}, {'name': 'a'}], 'containers': [{'name': 'z', 'image': 'z:1'}]}), 'order-mismatch': T(**{'$setElementOrder/containers': [{'name': 'b'}], 'containers': [{'name': 'z', 'image': 'z:1'}]}), 'retain-volume': T(volumes=[{'name': 'v', '$retainKeys': ['name', 'hostPath'], 'hostPath': {'path': '/x'}}]), 'no-retain-volume': T(volumes=[{'name': 'v', 'hostPath': {'path': '/x'}}]), 'retain-missing': T(volumes=[{'name': 'v', '$retainKeys': ['name'], 'hostPath': {'path': '/x'}}]), 'strategy-retain': {'spec': {'strategy': {'$retainKeys': ['type'], 'type': 'Recreate'}}}, 'strategy-noretain': {'spec': {'strategy': {'type': 'Recreate'}}}, 'patch-replace-map': {'spec': {'template': {'metadata': {'labels': {'$patch': 'replace', 'app': 'x', 'n': '1'}}}}}, 'patch-delete-map': {'spec': {'strategy': {'$patch': 'delete'}}}, 'patch-merge': {'spec': {'strategy': {'$patch': 'merge', 'type': 'RollingUpdate'}}}, 'patch-bad': {'spec': {'strategy': {'$patch': 'nope'}}}, 'null-list': T(volumes=None), 'empty-list': T(volumes=[]), 'selector': {'spec': {'selector': {'matchLabels': {'z': 'z'}}}}, 'unknown': {'spec': {'nope': 1}}, 'pullsecret': T(imagePullSecrets=[{'name': 's3'}, {'name': 's1', '$patch': 'delete'}]), 'delete-missing': T(containers=[{'name': 'zz', '$patch': 'delete'}]), 'root-replace': {'$patch': 'replace'}, 'root-delete': {'$patch': 'delete'}, 'empty': {}, 'list-as-map': T(containers={'name': 'a'}), 'map-as-list': {'spec': {'strategy': []}}, 'duplicate': T(containers=[{'name': 'a', 'image': 'q:1'}, {'name': 'a', 'image': 'q:2'}])}.items():
    pc('smp-' + i, DP, SMP, b)
FIN = cm('c', {}, {'finalizers': ['a.example.com/1', 'a.example.com/2', 'a.example.com/3']})
pc('smp-finalizers', FIN, SMP, {'metadata': {'finalizers': ['a.example.com/4']}}, {'metadata': {'$deleteFromPrimitiveList/finalizers': ['a.example.com/2']}}, {'metadata': {'$setElementOrder/finalizers': ['a.example.com/4', 'a.example.com/1', 'a.example.com/3'], 'finalizers': []}}, {'metadata': {'$deleteFromPrimitiveList/finalizers': ['a.example.com/1'], 'finalizers': ['a.example.com/9']}})
OW = lambda n: {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': n, 'uid': 'u-' + n}
pc('smp-owners', cm('c', {}, {'ownerReferences': [OW('a')]}), SMP, {'metadata': {'ownerReferences': [OW('b')]}}, {'metadata': {'ownerReferences': [{'uid': 'u-a', '$patch': 'delete'}]}}, {'metadata': {'ownerReferences': [{'$patch': 'replace'}, OW('z')]}})
pc('smp-svc-ports', O('Service', 's', spec={'ports': [{'port': 80, 'name': 'a'}, {'port': 81, 'name': 'b'}], 'selector': {'x': 'y'}}), SMP, {'spec': {'ports': [{'port': 80, 'targetPort': 8080}]}}, {'spec': {'ports': [{'port': 82, 'name': 'c'}]}}, {'spec': {'ports': [{'port': 81, '$patch': 'delete'}]}}, {'spec': {'selector': None}}, {'spec': {'$setElementOrder/ports': [{'port': 82}, {'port': 80}]}})
pc('smp-node-status', O('Node', 'kg-pn'), SMP, {'status': {'conditions': [{'type': 'Ready', 'status': 'True'}]}}, {'status': {'conditions': [{'type': 'DiskPressure', 'status': 'False'}]}}, {'status': {'conditions': [{'type': 'Ready', 'status': 'False', 'reason': 'x'}], '$setElementOrder/conditions': [{'type': 'DiskPressure'}, {'type': 'Ready'}]}}, {'status': {'addresses': [{'type': 'InternalIP', 'address': '1.1.1.1'}]}}, {'status': {'addresses': [{'type': 'InternalIP', 'address': '2.2.2.2'}]}}, sub='status', ns=None)
pc('smp-sa-secrets', O('ServiceAccount', 'a', secrets=[{'name': 'x'}]), SMP, {'secrets': [{'name': 'y'}]}, {'secrets': [{'name': 'x', '$patch': 'delete'}]})
pc('smp-pod', LP, SMP, {'spec': {'containers': [{'name': 'c', 'image': 'n:2'}]}}, {'metadata': {'labels': {'x': None, 'w': 'v'}}}, {'spec': {'activeDeadlineSeconds': 77}}, {'spec': {'hostNetwork': True}})
pc('status-merge', DP, MP, {'status': {'replicas': 3, 'conditions': [{'type': 'Available', 'status': 'True'}]}, 'spec': {'replicas': 7}, 'metadata': {'labels': {'st': 'x'}}}, sub='status')
pc('status-ignored-on-main', DP, MP, {'status': {'replicas': 3}}); pc('status-neg', DP, MP, {'status': {'replicas': -1}}, sub='status')
for k, o in (('Deployment', O('Deployment', 'd', spec=RS)), ('ReplicaSet', O('ReplicaSet', 'd', spec=RS)), ('StatefulSet', O('StatefulSet', 'd', spec=RS)), ('ReplicationController', O('ReplicationController', 'd', spec={'template': tmpl()}))):
    pc('scale-' + k.lower(), o, MP, {'spec': {'replicas': 3}}, {'spec': {'replicas': -1}}, {'spec': {'replicas': None}}, {'metadata': {'labels': {'a': 'b'}}}, {'spec': {'nope': 1}}, sub='scale')
case(PA, 'scale-put', POST(P('Deployment'), O('Deployment', 'd', spec=RS), rec=False), GET(P('Deployment', 'd', 'scale')), PUT(P('Deployment', 'd', 'scale'), lambda c: setp(c.last, 'spec.replicas', 4)), GET(P('Deployment', 'd')), PUT(P('Deployment', 'd', 'scale'), {'apiVersion': 'autoscaling/v1', 'kind': 'Scale', 'metadata': {'name': 'd', 'namespace': '$NS'}, 'spec': {'replicas': 2}}), PUT(P('Deployment', 'd', 'scale'), {'apiVersion': 'autoscaling/v1', 'kind': 'Scale', 'metadata': {'name': 'd', 'resourceVersion': '1'}, 'spec': {'replicas': 2}}), PUT(P('Deployment', 'd', 'scale'), {'apiVersion': 'autoscaling/v1', 'kind': 'Scale', 'metadata': {'name': 'z'}, 'spec': {'replicas': 2}}), PUT(P('Deployment', 'd', 'scale'), O('Deployment', 'd', spec=RS)), GET(P('Deployment', 'zz', 'scale')), GET(P('Deployment', 'd', 'scale'), acc=TABLE_ONLY))
pc('wrong-ct', CM, 'application/json', {'data': {}}); pc('wrong-ct2', CM, 'text/plain', 'x'); pc('wrong-ct3', CM, 'application/strategic-merge-patch+json; charset=utf-8', {'data': {'a': '5'}}); pc('wrong-ct4', CM, 'application/apply-patch+json', {}); pc('yaml-merge', CM, MP, 'data: {a: "7"}'); pc('yaml-smp', CM, SMP, 'data: {a: "7"}')
case(PA, 'no-ct', POST(P('ConfigMap'), CM, rec=False), R('PATCH', P('ConfigMap', 'c'), {}, h={'Content-Type': None}), R('PATCH', P('ConfigMap', 'c'), '', ct=MP))
case(PA, 'missing', PATCH(P('ConfigMap', 'zz'), {'data': {}}, MP), PATCH(P('ConfigMap', 'zz'), [], JP), PATCH(P('ConfigMap', 'zz'), {}, SMP), PATCH(P('ConfigMap'), {}, MP), PATCH(P('ConfigMap', 'zz', ns='nonexistent'), {}, MP))
case(PA, 'lock', POST(P('ConfigMap'), CM, rec=False, save=lambda c, r: c.saved.__setitem__('rv', r.json['metadata']['resourceVersion'])), PATCH(P('ConfigMap', 'c'), '{"metadata":{"resourceVersion":"${rv}"},"data":{"z":"1"}}', MP), PATCH(P('ConfigMap', 'c'), '{"metadata":{"resourceVersion":"${rv}"},"data":{"z":"2"}}', MP), PATCH(P('ConfigMap', 'c'), '{"metadata":{"resourceVersion":"${rv}"},"data":{"z":"3"}}', SMP), PATCH(P('ConfigMap', 'c'), '[{"op":"test","path":"/metadata/resourceVersion","value":"${rv}"}]', JP), PATCH(P('ConfigMap', 'c') + '?fieldManager=a', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","resourceVersion":"${rv}"},"data":{"q":"3"}}', AP), PATCH(P('ConfigMap', 'c'), {'metadata': {'resourceVersion': ''}}, MP), PATCH(P('ConfigMap', 'c'), {'metadata': {'resourceVersion': '0'}}, MP))
case(PA, 'params', POST(P('ConfigMap'), CM, rec=False), *[PATCH(P('ConfigMap', 'c') + q, {'data': {'w': 'x'}, 'nope': 1}, MP) for q in ('?fieldValidation=Strict', '?fieldValidation=Warn', '?fieldValidation=Ignore', '?fieldValidation=X', '?dryRun=All', '?dryRun=x', '?fieldManager=mm', '?force=true', '?fieldManager=' + L(129), '?fieldManager=a%00b')],
     PATCH(P('ConfigMap', 'c') + '?fieldValidation=Strict', {'data': {'w': 'x'}, 'nope': 1}, SMP), PATCH(P('ConfigMap', 'c') + '?fieldValidation=Strict', J(('add', '/nope', 1)), JP), PATCH(P('ConfigMap', 'c') + '?fieldValidation=Strict', '{"data":{"a":"1","a":"2"}}', MP), PATCH(P('ConfigMap', 'c') + '?fieldValidation=Strict', '{"data":{"a":"1","a":"2"}}', SMP), PATCH(P('ConfigMap', 'c') + '?fieldValidation=Warn', '[{"op":"add","op":"add","path":"/data/x","value":"1"}]', JP))

# ---------------------------------------------------------------- group: apply (server-side apply)
SA_ = 'apply'
A = lambda d=None, n='c', **m: O('ConfigMap', n, m or None, **({'data': d} if d is not None else {}))
cp = P('ConfigMap', 'c')
case(SA_, 'create', APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '2'})), GET(cp))
case(SA_, 'drop-field', APPLY(cp, A({'a': '1', 'b': '2'})), APPLY(cp, A({'a': '1'})), APPLY(cp, A({})), APPLY(cp, A()))
case(SA_, 'conflict', APPLY(cp, A({'a': '1', 'b': '1'})), APPLY(cp, A({'a': '2', 'b': '2'}), 'm2'), APPLY(cp, A({'a': '2'}), 'm2', 'true'), APPLY(cp, A({'a': '1', 'b': '1'})), APPLY(cp, A({'b': '1'})), GET(cp))
case(SA_, 'shared', APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '1', 'b': '2'}), 'm2'), APPLY(cp, A({})), APPLY(cp, A({}), 'm2'))
case(SA_, 'shared-change', APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '1'}), 'm2'), APPLY(cp, A({'a': '2'})), APPLY(cp, A({'a': '2'}), 'm1', 'true'))
case(SA_, 'conflict-update', POST(P('ConfigMap') + '?fieldManager=u', A({'a': '1'})), APPLY(cp, A({'a': '2'})), APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '3'}), 'm1', 'true'))
case(SA_, 'conflict-many', POST(P('ConfigMap') + '?fieldManager=u', A({'a': '1', 'b': '1'}, labels={'x': '1'})), PATCH(cp + '?fieldManager=v', {'data': {'b': '5'}}, MP), APPLY(cp, A({'a': '2', 'b': '2'}, labels={'x': '2'})))
case(SA_, 'update-takes-over', APPLY(cp, A({'a': '1'})), PUT(cp + '?fieldManager=u', A({'a': '2'})), APPLY(cp, A({'a': '1'})), PATCH(cp + '?fieldManager=u', {'data': {'a': None}}, MP), GET(cp), APPLY(cp, A({'a': '1'})))
case(SA_, 'noop-update-keeps-time', POST(P('ConfigMap') + '?fieldManager=u', A({'a': '1'})), PUT(cp + '?fieldManager=w', A({'a': '1'})), PATCH(cp + '?fieldManager=w', {'data': {'a': '1'}}, MP), GET(cp))
case(SA_, 'no-manager', APPLY(cp, A({'a': '1'}), None), APPLY(cp, A({'a': '1'}), ''))
case(SA_, 'bad-body', *[R('PATCH', cp + '?fieldManager=m', b, ct=AP) for b in ('', '{', 'null', '[]', '{}', 'a: b', '{"apiVersion":"v1","kind":"ConfigMap"}', '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"c"}}', '{"apiVersion":"v9","kind":"ConfigMap","metadata":{"name":"c"}}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"}}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"other"}}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":1}}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"nope":1}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","managedFields":[{"manager":"x"}]}}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1","a":"2"}}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","uid":"00000000-0000-0000-0000-000000000001"}}', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {y: aml}\n', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: v1\n', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":null}', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","labels":{"a b":"c"}}}')])
case(SA_, 'params', *[R('PATCH', cp + '?fieldManager=m' + q, dict(A({'a': '1'}), **x), ct=AP) for q, x in (('&fieldValidation=Strict', {'nope': 1}), ('&fieldValidation=Warn', {'nope': 1}), ('&dryRun=All', {}), ('&force=maybe', {}), ('&force=false', {}), ('&pretty=true', {}))])
case(SA_, 'missing-ns', R('PATCH', '/api/v1/namespaces/nonexistent/configmaps/c?fieldManager=m', O('ConfigMap', 'c'), ct=AP))
case(SA_, 'rv', APPLY(cp, A({'a': '1'}, resourceVersion='1')), APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '2'}, resourceVersion='1')), APPLY(cp, A({'a': '2'}, resourceVersion='0')))
case(SA_, 'uid', APPLY(cp, A({'a': '1'})), APPLY(cp, A({'a': '1'}, uid='00000000-0000-0000-0000-000000000001')))
case(SA_, 'metadata', APPLY(cp, A({'a': '1'}, labels={'x': 'y'}, annotations={'p': 'q'}, finalizers=['a.example.com/f'], ownerReferences=[OW('o')])), APPLY(cp, A({'a': '1'}, labels={'z': 'y'}, finalizers=['a.example.com/g']), 'm2'), APPLY(cp, A({'a': '1'})), GET(cp))
case(SA_, 'generatename', R('PATCH', cp + '?fieldManager=m', A({}, generateName='x-'), ct=AP), APPLY(cp, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'data': {}}))
dp = P('Deployment', 'd')
D0 = O('Deployment', 'd', spec={'selector': SEL, 'template': tmpl(ports=[{'containerPort': 80}], env=[{'name': 'A', 'value': '1'}])})
def DC(**c): return O('Deployment', 'd', spec={'template': {'spec': {'containers': [dict({'name': 'c'}, **c)]}}})
case(SA_, 'deploy-create', APPLY(dp, D0), APPLY(dp, setp(D0, 'spec.replicas', 3)), APPLY(dp, D0), APPLY(P('Deployment', 'd', 'scale'), {'apiVersion': 'autoscaling/v1', 'kind': 'Scale', 'metadata': {'name': 'd', 'namespace': '$NS'}, 'spec': {'replicas': 5}}, 'hpa'), APPLY(dp, setp(D0, 'spec.replicas', 3)), GET(dp))
case(SA_, 'deploy-scale-handover', APPLY(dp, setp(D0, 'spec.replicas', 3)), PATCH(P('Deployment', 'd', 'scale') + '?fieldManager=s', {'spec': {'replicas': 4}}, MP), GET(dp), APPLY(dp, D0), GET(dp))
case(SA_, 'list-map', APPLY(dp, D0), APPLY(dp, DC(env=[{'name': 'B', 'value': '2'}]), 'm2'), APPLY(dp, DC(env=[{'name': 'A', 'value': '9'}]), 'm2'), APPLY(dp, DC(env=[{'name': 'B', 'value': '3'}, {'name': 'C', 'value': '4'}]), 'm2'), APPLY(dp, DC(), 'm2'), GET(dp))
case(SA_, 'list-map-item', APPLY(dp, D0), APPLY(dp, O('Deployment', 'd', spec={'template': {'spec': {'containers': [{'name': 'side', 'image': 's:1'}]}}}), 'm2'), APPLY(dp, O('Deployment', 'd', spec={'template': {'spec': {'containers': []}}}), 'm2'), GET(dp))
case(SA_, 'list-order', APPLY(dp, setp(D0, 'spec.template.spec.containers', [{'name': 'a', 'image': 'a:1'}, {'name': 'b', 'image': 'b:1'}])), APPLY(dp, O('Deployment', 'd', spec={'template': {'spec': {'containers': [{'name': 'z', 'image': 'z:1'}, {'name': 'a', 'image': 'a:1'}]}}}), 'm2'), APPLY(dp, setp(D0, 'spec.template.spec.containers', [{'name': 'b', 'image': 'b:1'}, {'name': 'a', 'image': 'a:1'}])))
case(SA_, 'list-dup', APPLY(dp, setp(D0, 'spec.template.spec.containers', [{'name': 'a', 'image': 'a:1'}, {'name': 'a', 'image': 'b:1'}])), APPLY(dp, setp(D0, 'spec.template.spec.containers.0.env', [{'name': 'A', 'value': '1'}, {'name': 'A', 'value': '2'}])), APPLY(dp, setp(D0, 'spec.template.spec.containers.0.ports', [{'containerPort': 80}, {'containerPort': 80, 'protocol': 'UDP'}])), APPLY(dp, setp(D0, 'spec.template.spec.containers.0', {'image': 'x'})))
case(SA_, 'list-keys-default', APPLY(dp, setp(D0, 'spec.template.spec.containers.0.ports', [{'containerPort': 80, 'name': 'x'}])), APPLY(dp, DC(ports=[{'containerPort': 80, 'protocol': 'TCP', 'name': 'y'}]), 'm2'), APPLY(dp, DC(ports=[{'containerPort': 80, 'protocol': 'UDP', 'name': 'y'}]), 'm2'))
case(SA_, 'atomic-list', APPLY(dp, setp(D0, 'spec.template.spec.containers.0.args', ['a', 'b'])), APPLY(dp, DC(args=['a']), 'm2'), APPLY(dp, DC(args=['a']), 'm2', 'true'), APPLY(dp, setp(D0, 'spec.template.spec.tolerations', [{'key': 'a', 'operator': 'Exists'}])), APPLY(dp, O('Deployment', 'd', spec={'template': {'spec': {'tolerations': [{'key': 'b', 'operator': 'Exists'}]}}}), 'm2'))
case(SA_, 'atomic-map', APPLY(dp, D0), APPLY(dp, O('Deployment', 'd', spec={'selector': {'matchLabels': {'app': 'y'}}}), 'm2'), APPLY(dp, setp(D0, 'spec.template.spec.nodeSelector', {'a': 'b'})), APPLY(dp, O('Deployment', 'd', spec={'template': {'spec': {'nodeSelector': {'c': 'd'}}}}), 'm2'))
case(SA_, 'quantities', APPLY(dp, setp(D0, 'spec.template.spec.containers.0.resources', {'limits': {'cpu': '1000m', 'memory': '1024Mi'}})), APPLY(dp, DC(resources={'limits': {'cpu': '1'}}), 'm2'), APPLY(dp, DC(resources={'limits': {'cpu': '2'}}), 'm2'))
case(SA_, 'null-values', APPLY(dp, D0), APPLY(dp, setp(D0, 'spec.template.spec.containers.0.env', [{'name': 'A', 'value': None}])), R('PATCH', dp + '?fieldManager=m1', dict(D0, status=None, spec=dict(D0['spec'], replicas=None)), ct=AP), GET(dp))
case(SA_, 'invalid', APPLY(dp, O('Deployment', 'd', spec={'replicas': 1})), APPLY(dp, setp(D0, 'spec.replicas', 'x')), APPLY(dp, setp(D0, 'spec.template.spec.containers', {'a': 'b'})), APPLY(dp, D0, 'm2'), APPLY(dp, setp(D0, 'spec.selector', {'matchLabels': {'z': 'z'}})))
case(SA_, 'status', APPLY(dp, D0), APPLY(P('Deployment', 'd', 'status'), O('Deployment', 'd', status={'replicas': 2, 'conditions': [{'type': 'Available', 'status': 'True'}]}), 'st'), APPLY(P('Deployment', 'd', 'status'), O('Deployment', 'd', status={'conditions': [{'type': 'Progressing', 'status': 'True'}]}), 'st2'), APPLY(P('Deployment', 'd', 'status'), O('Deployment', 'd', status={'conditions': [{'type': 'Available', 'status': 'False'}]}), 'st2'), APPLY(dp, dict(D0, status={'replicas': 9})), APPLY(P('Deployment', 'd', 'status'), O('Deployment', 'd', spec={'replicas': 8}), 'st3'), GET(dp), APPLY(P('Deployment', 'zz', 'status'), O('Deployment', 'zz', status={'replicas': 2}), 'st'))
LASTAP = 'kubectl.kubernetes.io/last-applied-configuration'
case(SA_, 'csa-migrate', POST(P('ConfigMap') + '?fieldManager=kubectl-client-side-apply', A({'a': '1', 'b': '2'}, annotations={LASTAP: json.dumps(A({'a': '1', 'b': '2'}))})), APPLY(cp, A({'a': '9'}), 'kubectl'), GET(cp))
case(SA_, 'csa-migrate2', POST(P('ConfigMap') + '?fieldManager=kubectl-client-side-apply', A({'a': '1', 'b': '2'}, annotations={LASTAP: json.dumps(A({'a': '1', 'b': '2'}))})), APPLY(cp, A({'a': '9'}), 'other'), APPLY(cp, A({'a': '1'}), 'kubectl', 'true'), PATCH(cp + '?fieldManager=kubectl-edit', {'data': {'b': '7'}}, SMP), GET(cp))
case(SA_, 'service', APPLY(P('Service', 's'), O('Service', 's', spec={'ports': [{'port': 80}], 'selector': {'a': 'b'}})), APPLY(P('Service', 's'), O('Service', 's', spec={'ports': [{'port': 81, 'name': 'x'}]}), 'm2'), APPLY(P('Service', 's'), O('Service', 's', spec={'ports': [{'port': 80, 'protocol': 'TCP', 'name': 'y'}, {'port': 81, 'name': 'x'}]}), 'm2'), APPLY(P('Service', 's'), O('Service', 's', spec={'selector': {'c': 'd'}}), 'm3'), APPLY(P('Service', 's'), O('Service', 's', spec={'type': 'NodePort'}), 'm3'))
case(SA_, 'pod', APPLY(P('Pod', 'p'), pod()), APPLY(P('Pod', 'p'), pod(meta={'labels': {'a': 'b'}})), APPLY(P('Pod', 'p'), O('Pod', 'p', spec={'containers': [{'name': 'c', 'image': 'z:9'}]}), 'm2', 'true'), APPLY(P('Pod', 'p', 'status'), O('Pod', 'p', status={'conditions': [{'type': 'x.example.com/y', 'status': 'True'}]}), 'kubelet'), GET(P('Pod', 'p')))
case(SA_, 'node', APPLY(P('Node', 'kg-an'), O('Node', 'kg-an', spec={'taints': [{'key': 'a', 'effect': 'NoExecute'}]})), APPLY(P('Node', 'kg-an'), O('Node', 'kg-an', {'labels': {'x': 'y'}}, spec={'taints': [{'key': 'b', 'effect': 'NoExecute'}]}), 'm2'), APPLY(P('Node', 'kg-an', 'status'), O('Node', 'kg-an', status={'capacity': {'example.com/x': '3'}}), 'm3'), ns=None)
case(SA_, 'delete-recreate', APPLY(cp, A({'a': '1'})), DEL(cp), APPLY(cp, A({'a': '1'})))
case(SA_, 'create-only', POST(P('ConfigMap') + '?fieldManager=u', A({'a': '1'})), POST(P('ConfigMap') + '?fieldManager=u', A({'a': '1'})))
case(SA_, 'managers-by-ua', POST(P('ConfigMap'), A({'a': '1'}), h={'User-Agent': 'kubectl/v1.36 (linux)'}), PATCH(cp, {'data': {'b': '1'}}, MP, h={'User-Agent': ''}), PATCH(cp, {'data': {'c': '1'}}, MP, h={'User-Agent': 'x y z/1.2'}), PATCH(cp, {'data': {'d': '1'}}, MP, h={'User-Agent': 'a' * 200}), GET(cp))
case(SA_, 'time-bump', APPLY(cp, A({'a': '1'})), PATCH(cp + '?fieldManager=u', {'metadata': {'labels': {'l': '1'}}}, MP), PATCH(cp + '?fieldManager=u', {'metadata': {'labels': {'m': '1'}}}, SMP), PATCH(cp + '?fieldManager=u', J(('remove', '/metadata/labels/l')), JP), PUT(cp + '?fieldManager=u', A({'a': '1', 'z': '2'})), GET(cp))
case(SA_, 'strip-managed', APPLY(cp, A({'a': '1'})), PATCH(cp, {'metadata': {'managedFields': [{}]}}, MP), APPLY(cp, A({'a': '2'}), 'm2'), APPLY(cp, A({'a': '1'}), 'm1'), GET(cp))
case(SA_, 'rbac', APPLY(P('Role', 'r'), O('Role', 'r', rules=RU)), APPLY(P('Role', 'r'), O('Role', 'r', rules=RU + RU), 'm2'), APPLY(P('RoleBinding', 'rb'), RBD | {'metadata': {'name': 'rb'}}))
case(SA_, 'secret-stringdata', APPLY(P('Secret', 's'), O('Secret', 's', stringData={'a': 'b'})), APPLY(P('Secret', 's'), O('Secret', 's', data={'a': B64}), 'm2'), APPLY(P('Secret', 's'), O('Secret', 's', stringData={'c': 'd'})), GET(P('Secret', 's')))
case(SA_, 'hpa-versions', APPLY('/apis/autoscaling/v1/namespaces/$NS/horizontalpodautoscalers/h', O('HorizontalPodAutoscaler@autoscaling/v1', 'h', spec=dict(HR, targetCPUUtilizationPercentage=70))), APPLY(P('HorizontalPodAutoscaler', 'h'), O('HorizontalPodAutoscaler', 'h', spec={'maxReplicas': 9}), 'm2'), APPLY(P('HorizontalPodAutoscaler', 'h'), O('HorizontalPodAutoscaler', 'h', spec=HR)), GET(P('HorizontalPodAutoscaler', 'h')))
case(SA_, 'set-list', APPLY(cp, A({'a': '1'}, finalizers=['a.example.com/f', 'a.example.com/f'])), APPLY(P('PersistentVolumeClaim', 'v'), O('PersistentVolumeClaim', 'v', spec=PVCS)), APPLY(P('NetworkPolicy', 'n'), O('NetworkPolicy', 'n', spec={'podSelector': {}, 'policyTypes': ['Ingress']})), APPLY(P('NetworkPolicy', 'n'), O('NetworkPolicy', 'n', spec={'podSelector': {}, 'policyTypes': ['Egress']}), 'm2'))

# ---------------------------------------------------------------- group: verbs
VB = 'verbs'
names = lambda b: {'kind': b.get('kind'), 'names': [i['metadata']['name'] for i in b['items']], 'metadata': {k: (v if k == 'remainingItemCount' else bool(v)) for k, v in b['metadata'].items()}} if isinstance(b, dict) and 'items' in b and b['items'] is not None else b
CMS = P('ConfigMap')
def five(n=5, **k): return [POST(CMS, cm('c%d' % i, {'i': str(i)}, {'labels': {'app': 'x' if i % 2 else 'y', 'n': str(i)}}), rec=False) for i in range(n)]
SELS = ['app=x', 'app==y', 'app!=x', 'app in (x,y)', 'app notin (x)', 'app', '!app', 'n in (1,2),app=x', 'app=', 'n>2', 'n<2', 'n>x', 'app in ()', 'app in (x', 'app=x,', ',app=x', 'a b=c', 'app=x y', 'UP_/x=1', '=x', 'app=!x', 'app exists', '', ' app = x ', 'app in (x, )', '!app=x', 'app===x', 'n in(1)', 'app=' + L(64)]
case(VB, 'label-selectors', *five(), *[GET(CMS + '?labelSelector=' + urllib.parse.quote(s), proj=names) for s in SELS], ns='own')
FSELS = ['metadata.name=c1', 'metadata.name!=c1', 'metadata.namespace=x', 'metadata.namespace=kg-verbs-field-selectors', 'metadata.uid=x', 'data.i=1', 'metadata.name=c1,metadata.name=c2', 'metadata.name', 'metadata.name in (c1)', 'metadata.name==c1', '=', 'x', 'metadata.labels=x', '', 'metadata.name=', 'metadata.name=c\\,1']
case(VB, 'field-selectors', *five(), *[GET(CMS + '?fieldSelector=' + urllib.parse.quote(s), proj=names) for s in FSELS], ns='own')
case(VB, 'field-selectors-pods', POST(P('Pod'), pod('p1', {'nodeName': 'n1', 'restartPolicy': 'Never'}), rec=False), POST(P('Pod'), pod('p2'), rec=False), *[GET(P('Pod') + '?fieldSelector=' + urllib.parse.quote(s), proj=names) for s in ('spec.nodeName=n1', 'spec.nodeName=', 'spec.nodeName!=n1', 'status.phase=Pending', 'status.phase=Running', 'spec.restartPolicy=Never', 'spec.schedulerName=default-scheduler', 'spec.serviceAccountName=default', 'status.podIP=', 'status.nominatedNodeName=', 'spec.hostNetwork=true', 'spec.hostNetwork=false', 'spec.nope=1', 'status.podIPs=x')], ns='own')
for kind, fs in (('Event', ['involvedObject.kind=Pod', 'reason=R', 'type=Normal', 'source=c', 'involvedObject.fieldPath=', 'reportingComponent=', 'action=x']), ('Secret', ['type=Opaque', 'type!=Opaque', 'data=x']), ('Node', ['spec.unschedulable=true', 'metadata.name=x', 'spec.x=1']), ('Namespace', ['status.phase=Nope', 'name=x', 'metadata.name=default', 'spec.x=1']), ('Job', ['status.successful=1', 'x=1']), ('ReplicaSet', ['status.replicas=0', 'x=1']), ('CertificateSigningRequest', ['spec.signerName=x', 'x=y']), ('Deployment', ['status.replicas=1']), ('Service', ['spec.clusterIP=None', 'spec.type=ClusterIP']), ('PersistentVolume', ['name=x', 'metadata.name=x']), ('IPAddress', ['spec.parentRef.name=x', 'metadata.name=x']), ('ResourceSlice', ['spec.nodeName=x', 'spec.driver=x', 'spec.pool.name=x']), ('ReplicationController', ['status.replicas=0']), ('CronJob', ['spec.x=1']), ('CustomResourceDefinition', ['metadata.name=x', 'spec.group=x']), ('EndpointSlice', ['metadata.name=x']), ('Lease', ['metadata.name=x', 'spec.holderIdentity=x'])):
    case(VB, 'fields-' + kind.lower(), *[GET(P(kind) + '?fieldSelector=' + urllib.parse.quote(s), proj=names) for s in fs])
case(VB, 'fields-events', POST(P('Event'), O('Event', 'e', involvedObject=INV, reason='R', type='Normal', source={'component': 'c'}), rec=False), *[GET(P('Event') + '?fieldSelector=' + s, proj=names) for s in ('involvedObject.kind=Pod', 'involvedObject.name=p,reason=R', 'source=c', 'type=Warning')], ns='own')
def savec(c, r): c.saved['cont'] = urllib.parse.quote(r.json['metadata'].get('continue', ''))
def saverv(c, r): c.saved['rv'] = r.json['metadata']['resourceVersion']
case(VB, 'chunking', *five(7), GET(CMS + '?limit=3&labelSelector=app', save=savec, proj=names), GET(CMS + '?limit=3&labelSelector=app&continue=${cont}', save=savec, proj=names), GET(CMS + '?limit=3&labelSelector=app&continue=${cont}', proj=names), GET(CMS + '?limit=3', save=savec, proj=names), GET(CMS + '?limit=100&continue=${cont}', proj=names), GET(CMS + '?limit=0', proj=names), GET(CMS + '?limit=-1', proj=names), GET(CMS + '?limit=x', proj=names), GET(CMS + '?continue=garbage'), GET(CMS + '?limit=2&continue=${cont}&resourceVersion=5'), GET(CMS + '?limit=2&continue=${cont}&resourceVersion=0', proj=names), GET(CMS + '?limit=2&continue=${cont}&resourceVersionMatch=Exact', proj=names), GET(CMS + '?limit=2&resourceVersion=0', proj=names), GET(CMS + '?limit=2&resourceVersion=0&resourceVersionMatch=NotOlderThan', proj=names), GET(CMS + '?limit=2', acc=TABLE_ONLY, proj=lambda b: [len(b['rows']), sorted(b['metadata'])] if 'rows' in b else b), GET(CMS + '?limit=2', acc=POML, proj=names), GET(CMS + '?limit=2&fieldSelector=metadata.name!=c0', proj=names), GET('/api/v1/configmaps?limit=1', proj=lambda b: [len(b['items']), sorted(b['metadata'])]), ns='own')
case(VB, 'chunking-consistent', *five(4), GET(CMS + '?limit=2', save=savec, proj=names), DEL(CMS + '/c3', rec=False), POST(CMS, cm('zz'), rec=False), GET(CMS + '?limit=5&continue=${cont}', proj=names), GET(CMS, proj=names), ns='own')
RVM = [(rv, m, lim) for rv in ('', '0', '${rv}', '1', '999999999', 'x', '-1', '01') for m in (None, 'NotOlderThan', 'Exact', 'Nope', '') for lim in ((None, '2') if rv in ('', '0', '${rv}') else (None,))]
def q(rv, m, lim): return '&'.join('%s=%s' % (k, x) for k, x in (('resourceVersion', rv), ('resourceVersionMatch', m), ('limit', lim)) if x is not None)
for rv in ('', '0', '${rv}', '1', '999999999', 'x', '-1', '01'):
    case(VB, 'list-rv-' + {'${rv}': 'current', '': 'empty', '-1': 'neg'}.get(rv, rv), *five(3), GET(CMS, rec=False, save=saverv), *[GET(CMS + '?' + q(*x), proj=names) for x in RVM if x[0] == rv], ns='own')
case(VB, 'get-rv', *five(1), GET(CMS + '/c0', rec=False, save=saverv), *[GET(CMS + '/c0?resourceVersion=' + rv, proj=lambda b: b['kind'] if b['kind'] != 'Status' else b) for rv in ('', '0', '${rv}', '999999999', 'x')], GET(CMS + '/c0?resourceVersionMatch=Exact', proj=lambda b: b['kind'] if b['kind'] != 'Status' else b), GET(CMS + '?resourceVersionMatch=Exact'), GET(CMS + '?sendInitialEvents=true'), GET(CMS + '?resourceVersion=0&sendInitialEvents=true&resourceVersionMatch=NotOlderThan'), ns='own')
case(VB, 'get-pretty', *five(1), GET(CMS + '/c0?pretty=true', proj=lambda b: 'json'), GET(CMS + '/c0', acc='application/yaml', proj=lambda b: b.split('\n')[:3]), GET(CMS + '/c0', acc='text/plain'), GET(CMS + '/c0', acc='application/vnd.kubernetes.protobuf', proj=lambda b: 'pb'), GET(CMS + '/c0', acc='application/cbor', proj=lambda b: b if isinstance(b, dict) else 'cbor'), GET(CMS + '/c0', acc='text/html, application/json;q=0.9', proj=lambda b: b.get('kind')), GET(CMS + '/c0', acc='application/json;stream=watch', proj=lambda b: b.get('kind')), GET(CMS + '/c0', h={'Accept': ''}, proj=lambda b: b.get('kind')), ns='own')
case(VB, 'get-missing', GET(CMS + '/zz'), GET(P('Pod', 'zz', 'status')), GET(P('Pod', 'zz', 'log')), GET('/api/v1/namespaces/nonexistent/configmaps/x'), GET('/api/v1/namespaces/nonexistent/configmaps', proj=names), GET('/api/v1/namespaces/nonexistent'), GET(P('Deployment', 'zz')), GET(P('Role', 'zz')), GET(P('CustomResourceDefinition', 'zz.x')), GET(P('Lease', 'zz')), GET(P('Event@events.k8s.io/v1', 'zz')), GET(CMS + '/A_B'), GET(CMS + '/a%2Fb'), GET(CMS + '/..'))
case(VB, 'deletecollection', *five(5), DEL(CMS + '?labelSelector=app%3Dx', proj=names), GET(CMS, proj=names), DEL(CMS + '?fieldSelector=metadata.name%3Dc0', proj=names), DEL(CMS + '?dryRun=All', proj=names), GET(CMS, proj=names), DEL(CMS + '?limit=1', proj=lambda b: b.get('kind')), DEL(CMS, {'kind': 'DeleteOptions', 'apiVersion': 'v1', 'propagationPolicy': 'Nope'}), DEL(CMS + '?labelSelector=a+b'), DEL(CMS + '?fieldSelector=spec.x%3D1'), DEL(CMS + '?resourceVersion=0', proj=lambda b: b.get('kind')), ns='own')
case(VB, 'deletecollection-unsupported', DEL(P('Service') + '?labelSelector=none', proj=names), DEL('/api/v1/configmaps'), DEL('/api/v1/namespaces'), DEL('/api/v1/pods'), DEL(P('Node') + '?labelSelector=kg-none', proj=names), DEL(P('Endpoints') + '?labelSelector=none', proj=names))
for i, (qs, b) in enumerate([('', None), ('?gracePeriodSeconds=0', None), ('?gracePeriodSeconds=-1', None), ('?gracePeriodSeconds=x', None), ('?propagationPolicy=Foreground', None), ('?propagationPolicy=Orphan', None), ('?propagationPolicy=Background', None), ('?propagationPolicy=X', None), ('?orphanDependents=true', None), ('?orphanDependents=false', None), ('?orphanDependents=true&propagationPolicy=Orphan', None), ('?dryRun=All', None), ('?dryRun=X', None),
     ('', {'preconditions': {'uid': '00000000-0000-0000-0000-000000000001'}}), ('', {'preconditions': {'resourceVersion': '1'}}), ('', {'kind': 'DeleteOptions', 'apiVersion': 'v1', 'gracePeriodSeconds': 5}), ('', {'apiVersion': 'v1', 'kind': 'DeleteOptions', 'nope': 1}), ('', '{'), ('', {'kind': 'Pod', 'apiVersion': 'v1'}), ('', {'kind': 'DeleteOptions', 'apiVersion': 'v9'}), ('', {'kind': 'DeleteOptions', 'apiVersion': 'apps/v1', 'propagationPolicy': 'Foreground'}), ('', {'orphanDependents': True, 'propagationPolicy': 'Foreground'}), ('?gracePeriodSeconds=7', {'gracePeriodSeconds': 9}), ('', {'dryRun': ['All', 'X']}), ('?ignoreStoreReadErrorWithClusterBreakingPotential=true', None)]):
    case(VB, 'delete-cm-%02d' % i, POST(CMS, cm('c'), rec=False), DEL(CMS + '/c' + qs, b), GET(CMS + '/c'), DEL(CMS + '/c'))
case(VB, 'delete-cm-ct', POST(CMS, cm('c'), rec=False), DEL(CMS + '/c', '{}', ct='text/plain'), DEL(CMS + '/c', 'kind: DeleteOptions\napiVersion: v1\n', ct='application/yaml'))
case(VB, 'delete-pod-unscheduled', POST(P('Pod'), pod(), rec=False), DEL(P('Pod', 'p')), GET(P('Pod', 'p')))
case(VB, 'delete-pod-scheduled', POST(P('Pod'), pod(spec={'nodeName': 'nope'}), rec=False), DEL(P('Pod', 'p')), GET(P('Pod', 'p')), DEL(P('Pod', 'p')), DEL(P('Pod', 'p') + '?gracePeriodSeconds=5'), DEL(P('Pod', 'p') + '?gracePeriodSeconds=50'), DEL(P('Pod', 'p') + '?gracePeriodSeconds=1'), DEL(P('Pod', 'p') + '?gracePeriodSeconds=0'), GET(P('Pod', 'p')))
case(VB, 'delete-pod-terminal', POST(P('Pod'), pod(spec={'nodeName': 'nope'}), rec=False), PATCH(P('Pod', 'p', 'status'), {'status': {'phase': 'Succeeded'}}, MP, rec=False), DEL(P('Pod', 'p')), GET(P('Pod', 'p')))
case(VB, 'delete-pod-grace', POST(P('Pod'), pod(spec={'nodeName': 'nope', 'terminationGracePeriodSeconds': 0}), rec=False), DEL(P('Pod', 'p')), GET(P('Pod', 'p')))
case(VB, 'delete-pod-preconditions', POST(P('Pod'), pod(spec={'nodeName': 'nope'}), rec=False, save=lambda c, r: c.saved.update(uid=r.json['metadata']['uid'], rv=r.json['metadata']['resourceVersion'])), DEL(P('Pod', 'p'), '{"preconditions":{"uid":"${uid}","resourceVersion":"${rv}"},"gracePeriodSeconds":0}'))
FM = {'finalizers': ['x.example.com/a', 'x.example.com/b']}
case(VB, 'finalizers', POST(CMS, cm('c', {}, FM)), DEL(CMS + '/c'), GET(CMS + '/c'), DEL(CMS + '/c'), POST(CMS, cm('c')), PATCH(CMS + '/c', {'metadata': {'finalizers': ['x.example.com/a', 'x.example.com/b', 'x.example.com/new']}}, MP), PATCH(CMS + '/c', {'data': {'q': '1'}}, MP), PATCH(CMS + '/c', {'metadata': {'finalizers': ['x.example.com/b']}}, MP), PATCH(CMS + '/c', {'metadata': {'finalizers': None}}, MP), GET(CMS + '/c'))
case(VB, 'finalizers-grace0', POST(CMS, cm('c', {}, FM)), DEL(CMS + '/c?gracePeriodSeconds=0'), PUT(CMS + '/c', lambda c: setp(c.last, 'metadata.finalizers', [])), GET(CMS + '/c'))
case(VB, 'finalizers-policy', POST(CMS, cm('c')), DEL(CMS + '/c?propagationPolicy=Foreground'), GET(CMS + '/c'), DEL(CMS + '/c?propagationPolicy=Orphan'), GET(CMS + '/c'), DEL(CMS + '/c?propagationPolicy=Background'), GET(CMS + '/c'), PATCH(CMS + '/c', {'metadata': {'finalizers': None}}, MP))
case(VB, 'finalizers-workloads', *[x for k in ('ReplicaSet', 'Deployment', 'StatefulSet', 'DaemonSet') for x in (POST(P(k), O(k, 'w', spec=RS), rec=False), DEL(P(k, 'w') + '?propagationPolicy=Foreground'), PATCH(P(k, 'w'), {'metadata': {'finalizers': None}}, MP))], POST(P('Job'), JB, rec=False), DEL(P('Job', 'j')), POST(P('ReplicationController'), O('ReplicationController', 'w', spec={'template': tmpl()}), rec=False), DEL(P('ReplicationController', 'w')))
case(VB, 'finalizers-pod', POST(P('Pod'), pod(meta=FM, spec={'nodeName': 'nope'}), rec=False), DEL(P('Pod', 'p')), DEL(P('Pod', 'p') + '?gracePeriodSeconds=0'), GET(P('Pod', 'p')), PATCH(P('Pod', 'p'), {'metadata': {'finalizers': None}}, MP), GET(P('Pod', 'p')))
case(VB, 'generation', POST(P('Deployment'), O('Deployment', 'd', spec=RS)), PATCH(P('Deployment', 'd'), {'metadata': {'labels': {'a': 'b'}}}, MP), PATCH(P('Deployment', 'd'), {'spec': {'replicas': 3}}, MP), PATCH(P('Deployment', 'd', 'status'), {'status': {'replicas': 1}}, MP), DEL(P('Deployment', 'd') + '?propagationPolicy=Foreground'), GET(P('Deployment', 'd')))
case(VB, 'generatename', POST(CMS, O('ConfigMap', None, {'generateName': 'gn-'})), POST(CMS, O('ConfigMap', None, {'generateName': 'gn-' + L(300)}), proj=lambda b: [b.get('code'), len(b.get('metadata', {}).get('name', ''))]), POST(CMS, O('ConfigMap', 'x', {'generateName': 'gn-'})), POST(CMS, O('ConfigMap', None, {'generateName': 'gn.'})), POST(CMS, O('ConfigMap', None, {'generateName': ''})), POST(CMS + '?dryRun=All', O('ConfigMap', None, {'generateName': 'gd-'})))
case(VB, 'create-existing', POST(CMS, cm('c')), POST(CMS, cm('c')), POST(P('Pod'), pod()), POST(P('Pod'), pod()), POST(CMS + '?dryRun=All', cm('c')), POST(P('Role'), O('Role', 'r', rules=[])), POST(P('Role'), O('Role', 'r', rules=[])))
case(VB, 'create-ns-missing', *[POST('/api/v1/namespaces/nonexistent/' + k, o) for k, o in (('configmaps', cm('c')), ('pods', pod()), ('events', O('Event', 'e', involvedObject=INV)))], POST('/apis/apps/v1/namespaces/nonexistent/deployments', O('Deployment', 'd', spec=RS)), POST('/apis/authorization.k8s.io/v1/namespaces/nonexistent/localsubjectaccessreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'LocalSubjectAccessReview', 'spec': {}}))
CREATES = {'wrong-kind': dict(cm('c'), kind='Secret'), 'wrong-ver': dict(cm('c'), apiVersion='v2'), 'wrong-group': dict(cm('c'), apiVersion='apps/v1'), 'no-kind': {'apiVersion': 'v1', 'metadata': {'name': 'c'}}, 'no-ver': {'kind': 'ConfigMap', 'metadata': {'name': 'c'}}, 'nothing': {'metadata': {'name': 'c'}}, 'empty-obj': {}, 'wrong-ns': O('ConfigMap', 'c', {'namespace': 'other'}), 'right-ns': O('ConfigMap', 'c', {'namespace': '$NS'}), 'rv': O('ConfigMap', 'c', {'resourceVersion': '5'}), 'list': {'apiVersion': 'v1', 'kind': 'ConfigMapList', 'items': []}, 'unknown-kind': dict(cm('c'), kind='Nope'), 'json-array': [], 'json-str': '"x"', 'json-num': '5', 'json-null': 'null', 'broken': '{"a":', 'trailing': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}} x', 'two': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}{"a":1}', 'empty-body': '', 'dup-field': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","name":"d"}}', 'case-field': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"Name":"c"},"Data":{"a":"b"}}', 'comment': '/* x */ {}', 'utf8': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"\\ud83d\\ude00 \\u0000"}}', 'badutf8': b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"\xff\xfe"}}', 'deep': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"x":' + '[' * 11000 + ']' * 11000 + '}', 'bom': b'\xef\xbb\xbf{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}', 'bignum': '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","generation":99999999999999999999}}', 'null-meta': '{"apiVersion":"v1","kind":"ConfigMap","metadata":null}', 'yaml-as-json': 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n'}
for i, b in CREATES.items(): case(VB, 'create-' + i, POST(CMS, b))
for i, (b, ct) in {'ok': ('apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata: {a: "1"}\n', 'application/yaml'), 'broken': ('a: [', 'application/yaml'), 'dup': ('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: "1", a: "2"}\n', 'application/yaml'), 'json-in-yaml': (json.dumps(cm('c')), 'application/yaml'), 'charset': (json.dumps(cm('c')), 'application/json; charset=utf-8'), 'upper': (json.dumps(cm('c')), 'APPLICATION/JSON'), 'text': ('x', 'text/plain'), 'bad': ('x', ';;;'), 'pb': ('x', PB), 'pb-json': (b'k8s\0', PB), 'cbor': (b'\xd9\xd9\xf7\xa0', 'application/cbor'), 'form': ('a=b', 'application/x-www-form-urlencoded'), 'multi': ('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\n', 'application/yaml'), 'norway': ('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: no}\n', 'application/yaml')}.items():
    case(VB, 'create-ct-' + i, POST(CMS, b, ct=ct))
case(VB, 'create-no-ct', R('POST', CMS, json.dumps(cm('c')), h={'Content-Type': None}))
FVB = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","zz":1},"nope":{"a":1},"spec":{"containers":[{"name":"c","image":"i","imagE":"x","foo":1,"image":"j"}],"bar":[],"nodeName":"","nodeName":""}}'
for fv in ('Strict', 'Warn', 'Ignore', '', 'strict', 'X', None): case(VB, 'fieldvalidation-create-' + str(fv or ('empty' if fv == '' else 'none')), POST(P('Pod') + '?dryRun=All' + ('&fieldValidation=' + fv if fv is not None else ''), FVB))
for fv in ('Strict', 'Warn', 'Ignore'): case(VB, 'fieldvalidation-update-' + fv, POST(CMS, cm('c'), rec=False), PUT(CMS + '/c?fieldValidation=' + fv, '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1","a":"2"},"x":1,"y":2}'), PUT(CMS + '/c?fieldValidation=' + fv, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: "1", a: "2"}\nx: 1\n', ct='application/yaml'))
case(VB, 'fieldvalidation-many', POST(P('Pod') + '?dryRun=All&fieldValidation=Strict', dict(pod(), **{'u%03d' % i: i for i in range(150)})), POST(P('Pod') + '?dryRun=All&fieldValidation=Warn', dict(pod(), **{'u%03d' % i: i for i in range(150)})))
case(VB, 'warnings', POST(P('Pod') + '?dryRun=All', pod(meta={'annotations': {'seccomp.security.alpha.kubernetes.io/pod': 'x', 'scheduler.alpha.kubernetes.io/critical-pod': ''}})), POST(P('Endpoints') + '?dryRun=All', O('Endpoints', 'e')), POST(P('Ingress') + '?dryRun=All', setp(IG, 'metadata.annotations', {'kubernetes.io/ingress.class': 'x'})), POST(P('Pod') + '?dryRun=All', pod(spec={'nodeSelector': {'beta.kubernetes.io/os': 'linux', 'failure-domain.beta.kubernetes.io/zone': 'z'}})), POST(P('CronJob') + '?dryRun=All', setp(CJ, 'spec.schedule', 'CRON_TZ=UTC * * * * *')), POST(P('PersistentVolume') + '?dryRun=All', O('PersistentVolume', 'kg-w', {'annotations': {'volume.beta.kubernetes.io/storage-class': 'x'}}, spec=dict(PVS, persistentVolumeReclaimPolicy='Recycle'))), POST(P('Service') + '?dryRun=All', O('Service', 's', spec={'ports': SP, 'externalIPs': ['010.0.0.1']})), POST(P('Node') + '?dryRun=All', O('Node', 'kg-w', {'labels': {'beta.kubernetes.io/arch': 'x'}}, spec={'configSource': {'configMap': {'name': 'a', 'namespace': 'b', 'uid': 'c', 'kubeletConfigKey': 'd'}}})), POST(P('PodDisruptionBudget') + '?dryRun=All', O('PodDisruptionBudget', 'b', spec={'selector': {}})), POST(P('Secret') + '?dryRun=All', O('Secret', 's', type='kubernetes.io/tls', data={'tls.crt': '', 'tls.key': ''})), POST(P('Pod') + '?dryRun=All', pod(spec={'terminationGracePeriodSeconds': -1, 'imagePullSecrets': [{'name': ''}]})), POST(P('ServiceAccount') + '?dryRun=All', O('ServiceAccount', 'a', {'annotations': {'kubernetes.io/enforce-mountable-secrets': 'true'}}, secrets=[{'name': 'q'}])))
case(VB, 'update', POST(CMS, cm('c'), save=saverv), PUT(CMS + '/c', lambda c: setp(c.last, 'data', {'a': '1'})), PUT(CMS + '/c', '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","resourceVersion":"${rv}"},"data":{"b":"1"}}'), PUT(CMS + '/c', cm('c', {'c': '1'})), PUT(CMS + '/c', cm('c', {'c': '1'})), PUT(CMS + '/c', O('ConfigMap', 'c', {'resourceVersion': 'x'})), PUT(CMS + '/c', O('ConfigMap', 'c', {'resourceVersion': '0'})), PUT(CMS + '/c', O('ConfigMap', 'd')), PUT(CMS + '/c', O('ConfigMap', None)), PUT(CMS + '/c', O('ConfigMap', 'c', {'namespace': 'other'})), PUT(CMS + '/c', dict(cm('c'), kind='Secret')), PUT(CMS + '/c', dict(cm('c'), apiVersion='v2')), PUT(CMS + '/c', ''), PUT(CMS + '/c', O('ConfigMap', 'c', {'uid': '00000000-0000-0000-0000-000000000001'})), PUT(CMS + '/c?dryRun=All', cm('c', {'dry': '1'})), GET(CMS + '/c'), PUT(CMS + '/zz', cm('zz')), PUT(CMS + '/zz', O('ConfigMap', 'zz', {'resourceVersion': '5'})))
case(VB, 'update-create', PUT(P('Lease', 'l'), O('Lease', 'l')), PUT(P('ConfigMap', 'l'), O('ConfigMap', 'l')), PUT(P('Role', 'l'), O('Role', 'l')), PUT(P('Endpoints', 'l'), O('Endpoints', 'l')), PUT(P('Node', 'kg-uc'), O('Node', 'kg-uc')), PUT(P('Service', 'uc'), O('Service', 'uc', spec={'ports': SP})), PUT(P('Event', 'uc'), O('Event', 'uc', involvedObject=INV)), PUT(P('LimitRange', 'uc'), O('LimitRange', 'uc', spec={'limits': []})), PUT(P('EndpointSlice', 'uc'), O('EndpointSlice', 'uc', addressType='IPv4', endpoints=[])), PUT(P('Deployment', 'uc'), O('Deployment', 'uc', spec=RS)), PUT(P('RuntimeClass', 'kg-uc'), O('RuntimeClass', 'kg-uc', handler='h')), PUT(P('StorageClass', 'kg-uc'), O('StorageClass', 'kg-uc', provisioner='h')), DEL(P('Role', 'l')), DEL(P('Lease', 'l')))
case(VB, 'update-unconditional', *[x for k, o in (('Lease', O('Lease', 'l')), ('Deployment', O('Deployment', 'd', spec=RS)), ('Service', O('Service', 's', spec={'ports': SP})), ('Endpoints', O('Endpoints', 'e')), ('Role', O('Role', 'r', rules=[])), ('PodDisruptionBudget', O('PodDisruptionBudget', 'b', spec={})), ('EndpointSlice', O('EndpointSlice', 'e', addressType='IPv4', endpoints=[])), ('HorizontalPodAutoscaler', HP), ('Job', JB), ('Ingress', IG), ('PriorityClass', O('PriorityClass', 'kg-uu', value=1)), ('FlowSchema', O('FlowSchema', 'kg-uu', spec={'priorityLevelConfiguration': {'name': 'workload-low'}})), ('ValidatingAdmissionPolicyBinding', O('ValidatingAdmissionPolicyBinding', 'kg-uu', spec={'policyName': 'kg-x', 'validationActions': ['Deny']})), ('CSIDriver', O('CSIDriver', 'kg-uu')), ('ResourceClaim', RC), ('ControllerRevision', O('ControllerRevision', 'c', revision=1, data={'a': 1}))) for x in (POST(P(k), o, rec=False), PUT(P(k, o['metadata']['name']), dict(o, metadata=dict(o['metadata'], labels={'a': 'b'})), proj=lambda b: b if b.get('kind') == 'Status' else [b['kind'], b['metadata'].get('labels'), b['metadata'].get('generation')]))])
case(VB, 'update-crd-unconditional', POST(P('CustomResourceDefinition'), crd('kguus', 'KgUu'), rec=False), PUT(P('CustomResourceDefinition', 'kguus.kg.example.com'), crd('kguus', 'KgUu')), ns=None)
case(VB, 'update-status-rules', POST(P('Deployment'), O('Deployment', 'd', spec=RS), rec=False), PUT(P('Deployment', 'd', 'status'), O('Deployment', 'd', {'labels': {'zz': 'y'}}, spec=setp(RS, 'replicas', 9), status={'replicas': 3})), PUT(P('Deployment', 'd'), O('Deployment', 'd', spec=RS, status={'replicas': 8})), PUT(P('Namespace', 'kg-verbs', 'status'), O('Namespace', 'kg-verbs', status={'phase': 'Active'})), PUT(P('Deployment', 'zz', 'status'), O('Deployment', 'zz')))
case(VB, 'dryrun', POST(CMS + '?dryRun=All', cm('dr')), GET(CMS + '/dr'), POST(CMS + '?dryRun=', cm('dr')), DEL(CMS + '/dr'), POST(CMS + '?dryRun=all', cm('dr')), POST(CMS + '?dryRun=All&dryRun=All', cm('dr')), POST(P('Service') + '?dryRun=All', SV), POST(P('Service') + '?dryRun=All', setp(SV, 'spec.type', 'NodePort')), POST(P('Namespace') + '?dryRun=All', O('Namespace', 'kg-dr')), POST(P('Pod', 'x', 'binding') + '?dryRun=All', {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'x'}, 'target': {'name': 'n'}}))
BIG = 'x' * (3 * 1024 * 1024 + 100)
case(VB, 'oversize', POST(CMS, '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"%s"}}' % BIG), POST(P('Pod'), '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"},"x":"%s"}' % BIG), PATCH(CMS + '/c', '{"data":{"a":"%s"}}' % BIG, MP), POST(CMS, '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"%s"}}' % ('x' * 1600000)))
case(VB, 'methods', *[R(m, p, {} if m in ('POST', 'PUT', 'PATCH') else None) for m, p in (('PUT', CMS), ('PATCH', CMS), ('POST', CMS + '/c'), ('HEAD', CMS), ('HEAD', CMS + '/zz'), ('OPTIONS', CMS), ('OPTIONS', CMS + '/c'), ('TRACE', CMS), ('NOPE', CMS), ('PUT', '/api/v1/namespaces'), ('DELETE', '/api/v1/namespaces/kg-none/status'), ('POST', '/api/v1/pods'), ('POST', '/api/v1/namespaces/default/pods/p/status'), ('GET', '/api/v1/namespaces/default/pods/p/binding'), ('GET', '/api/v1/namespaces/default/pods/p/eviction'), ('GET', '/api/v1/bindings'), ('GET', '/apis/authorization.k8s.io/v1/subjectaccessreviews'), ('GET', '/apis/authentication.k8s.io/v1/tokenreviews/x'), ('PATCH', '/api/v1/namespaces/x/finalize'), ('GET', '/api/v1/namespaces/default/serviceaccounts/default/token'), ('POST', '/api/v1'), ('DELETE', '/apis'), ('PUT', '/version'), ('GET', '/api/v1/componentstatuses/nope'))])
case(VB, 'get-all-ns', POST(CMS, cm('c'), rec=False), GET('/api/v1/configmaps?fieldSelector=metadata.namespace%3D$NS', proj=names), GET('/api/v1/configmaps?fieldSelector=metadata.namespace%3D$NS,metadata.name%3Dc', proj=names), GET('/api/v1/configmaps/c'), GET('/api/v1/namespaces/$NS/configmaps/c/status'), GET('/api/v1/namespaces//configmaps', proj=lambda b: b.get('kind') if b.get('kind') != 'Status' else b), GET('/api/v1/namespaces/$NS/configmaps/'), GET('/api/v1/namespaces/$NS/configmaps/c/', proj=lambda b: b if b.get('kind') == 'Status' else b.get('kind')))
case(VB, 'bad-params', GET(CMS + '?timeoutSeconds=x', proj=names), GET(CMS + '?watch=maybe&timeoutSeconds=1&fieldSelector=metadata.name%3Dnone', proj=lambda b: b), GET(CMS + '?allowWatchBookmarks=x&limit=1&fieldSelector=metadata.name%3Dnone', proj=names), GET(CMS + '?unknown=x', proj=names), GET(CMS + '?limit=1&limit=2', proj=names), GET(CMS + '?timeout=1s', proj=names), GET(CMS + '?timeout=x', proj=lambda b: b if not isinstance(b, dict) or b.get('kind') == 'Status' else b.get('kind')), GET(CMS + '?labelSelector=%zz', proj=lambda b: b if not isinstance(b, dict) or b.get('kind') == 'Status' else b.get('kind')), POST(CMS + '?fieldManager=' + 'x' * 129, cm('c')), POST(CMS + '?fieldManager=a%07b', cm('c')), POST(CMS + '?timeout=34s', cm('c'), proj=lambda b: b.get('kind')))
case(VB, 'eviction', POST(P('Pod'), pod('e1', {'nodeName': 'nope'}, {'labels': {'app': 'x'}}), rec=False), POST(P('PodDisruptionBudget'), O('PodDisruptionBudget', 'b', spec={'minAvailable': 1, 'selector': SEL}), rec=False), POST(P('Pod', 'e1', 'eviction'), {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'e1'}}), POST(P('Pod', 'e1', 'eviction') + '?dryRun=All', {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'e1'}}), POST(P('Pod', 'e1', 'eviction'), {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'other'}}), POST(P('Pod', 'zz', 'eviction'), {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'zz'}}), POST(P('Pod', 'e1', 'eviction'), {}), PATCH(P('PodDisruptionBudget', 'b', 'status'), {'status': {'observedGeneration': 1, 'disruptionsAllowed': 1, 'currentHealthy': 2, 'desiredHealthy': 1, 'expectedPods': 2}}, MP), POST(P('Pod', 'e1', 'eviction'), {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'e1'}, 'deleteOptions': {'gracePeriodSeconds': 3}}), GET(P('Pod', 'e1')), GET(P('PodDisruptionBudget', 'b')), ns='own')
case(VB, 'binding', POST(P('Pod'), pod(), rec=False), POST(P('Pod', 'p', 'binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'p'}, 'target': {'kind': 'Node', 'name': 'n1'}}), GET(P('Pod', 'p')), POST(P('Pod', 'p', 'binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'p'}, 'target': {'kind': 'Node', 'name': 'n2'}}), POST(P('Pod', 'zz', 'binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'zz'}, 'target': {'kind': 'Node', 'name': 'n1'}}), POST(P('Pod', 'p', 'binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'p'}, 'target': {'kind': 'Pod', 'name': ''}}), POST(P('Pod'), pod('q', {'schedulingGates': [{'name': 'x'}]}), rec=False), POST(P('Binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'q'}, 'target': {'kind': 'Node', 'name': 'n1'}}), POST(P('Pod'), pod('r'), rec=False), POST(P('Binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'r', 'annotations': {'a': 'b'}, 'labels': {'c': 'd'}}, 'target': {'kind': 'Node', 'name': 'n1'}}), GET(P('Pod', 'r')))
case(VB, 'pod-subresources', POST(P('Pod'), pod(), rec=False), GET(P('Pod', 'p', 'log')), GET(P('Pod', 'p', 'log') + '?container=zz'), GET(P('Pod', 'p', 'log') + '?tailLines=-1'), GET(P('Pod', 'p', 'log') + '?sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z'), POST(P('Pod', 'p', 'exec'), None), GET(P('Pod', 'p', 'exec')), GET(P('Pod', 'p', 'attach')), GET(P('Pod', 'p', 'portforward')), GET(P('Pod', 'p', 'proxy')), GET(P('Pod', 'p', 'ephemeralcontainers')), GET(P('Pod', 'p', 'resize')), PATCH(P('Pod', 'p', 'ephemeralcontainers'), {'spec': {'ephemeralContainers': [{'name': 'e', 'image': 'e:1'}]}}, SMP), PATCH(P('Pod', 'p', 'resize'), {'spec': {'containers': [{'name': 'c', 'resources': {'requests': {'cpu': '1'}}}]}}, SMP), GET(P('Pod', 'p', 'nope')), GET(P('Service', 'zz', 'proxy')), GET('/api/v1/nodes/zz/proxy/'))
case(VB, 'namespace-lifecycle', POST(P('Namespace'), O('Namespace', 'kg-nl', {'finalizers': ['x.example.com/y']})), POST(P('ConfigMap', ns='kg-nl'), cm('c', {}, {'finalizers': ['x.example.com/z']}), keep=True), DEL(P('Namespace', 'kg-nl'), proj=lambda b: b.get('kind') if b.get('kind') != 'Status' else b), POST(P('ConfigMap', ns='kg-nl'), cm('d')), PATCH(P('ConfigMap', 'c', ns='kg-nl'), {'data': {'z': '1'}}, MP, proj=lambda b: b.get('kind') if b.get('kind') != 'Status' else b), R('PATCH', P('ConfigMap', 'e', ns='kg-nl') + '?fieldManager=m', cm('e'), ct=AP), WAIT(P('Namespace', 'kg-nl'), lambda r: any(c['type'] == 'NamespaceFinalizersRemaining' and c['status'] == 'True' for c in r.json['status'].get('conditions', [])), secs=15, rec=True, proj=lambda b: {'phase': b['status']['phase'], 'fin': b['spec'].get('finalizers'), 'conditions': sorted([c['type'], c['status'], c['reason'], c['message']] for c in b['status']['conditions'])}), GET(P('ConfigMap', 'c', ns='kg-nl'), proj=lambda b: [b['kind'], 'deletionTimestamp' in b['metadata']]), PATCH(P('ConfigMap', 'c', ns='kg-nl'), {'metadata': {'finalizers': None}}, MP, rec=False), WAIT(P('Namespace', 'kg-nl'), lambda r: not r.json['spec'].get('finalizers'), secs=25, rec=True, proj=lambda b: [b['status']['phase'], b['spec'], b['metadata']['finalizers']]), PATCH(P('Namespace', 'kg-nl'), {'metadata': {'finalizers': None}}, MP, proj=lambda b: b.get('kind')), WAIT(P('Namespace', 'kg-nl'), lambda r: r.status == 404, rec=True), ns=None)
case(VB, 'namespace-protected', DEL('/api/v1/namespaces/default'), DEL('/api/v1/namespaces/kube-system'), DEL('/api/v1/namespaces/nonexistent'), POST(P('Namespace'), O('Namespace', 'default')), PUT(P('Namespace', 'kg-fz', 'finalize'), O('Namespace', 'kg-fz', spec={'finalizers': []})), ns=None)
case(VB, 'componentstatus', GET('/api/v1/componentstatuses', proj=lambda b: [b['kind'], b['apiVersion']]), GET('/api/v1/componentstatuses/etcd-0', proj=lambda b: b.get('kind')), ns=None)

# ---------------------------------------------------------------- group: watch
WT = 'watch'
WQ = '?watch=true&labelSelector=w%3D1'
def wcm(n, d='1', l='1'): return cm(n, {'d': d}, {'labels': {'w': l}})
LST = GET(CMS + '?labelSelector=w%3D1', rec=False, save=saverv)
case(WT, 'from-rv', POST(CMS, wcm('a'), rec=False), LST, W('w', CMS + WQ + '&resourceVersion=${rv}'), POST(CMS, wcm('b'), rec=False), PATCH(CMS + '/b', {'data': {'x': '1'}}, MP, rec=False), PATCH(CMS + '/b', {'data': {'x': '1'}}, MP, rec=False), DEL(CMS + '/b', rec=False), DEL(CMS + '/a', rec=False), WE('w', 4), ns='own')
case(WT, 'from-rv-past', LST, POST(CMS, wcm('b'), rec=False), PATCH(CMS + '/b', {'data': {'x': '1'}}, MP, rec=False), DEL(CMS + '/b', rec=False), W('w', CMS + WQ + '&resourceVersion=${rv}'), WE('w', 3), ns='own')
case(WT, 'from-0', POST(CMS, wcm('a'), rec=False), POST(CMS, wcm('b'), rec=False), W('w', CMS + WQ + '&resourceVersion=0'), POST(CMS, wcm('c'), rec=False), WE('w', 3), ns='own')
case(WT, 'no-rv', POST(CMS, wcm('a'), rec=False), POST(CMS, wcm('b'), rec=False), W('w', CMS + WQ), POST(CMS, wcm('c'), rec=False), WE('w', 3), ns='own')
case(WT, 'timeout', POST(CMS, wcm('a'), rec=False), W('w', CMS + WQ + '&timeoutSeconds=1'), WE('w'), ns='own')
case(WT, 'timeout-0', LST, W('w', CMS + WQ + '&timeoutSeconds=0&resourceVersion=${rv}'), POST(CMS, wcm('a'), rec=False), WE('w', 1), ns='own')
SI = '&sendInitialEvents=true&resourceVersionMatch=NotOlderThan'
case(WT, 'initial-events', POST(CMS, wcm('a'), rec=False), POST(CMS, wcm('b'), rec=False), W('w', CMS + WQ + SI + '&allowWatchBookmarks=true'), SLEEP(0.3), POST(CMS, wcm('c'), rec=False), WE('w', 4), ns='own')
case(WT, 'initial-events-rv0', POST(CMS, wcm('a'), rec=False), W('w', CMS + WQ + SI + '&allowWatchBookmarks=true&resourceVersion=0'), SLEEP(0.3), DEL(CMS + '/a', rec=False), WE('w', 3), ns='own')
case(WT, 'initial-events-rv', POST(CMS, wcm('a'), rec=False), LST, W('w', CMS + WQ + SI + '&allowWatchBookmarks=true&resourceVersion=${rv}'), WE('w', 2), ns='own')
case(WT, 'initial-events-empty', W('w', CMS + WQ + SI + '&allowWatchBookmarks=true'), WE('w', 1), ns='own')
case(WT, 'initial-events-false', POST(CMS, wcm('a'), rec=False), LST, W('w', CMS + WQ + '&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=${rv}'), POST(CMS, wcm('b'), rec=False), WE('w', 1), ns='own')
BADW = ['&sendInitialEvents=true', '&sendInitialEvents=true&resourceVersionMatch=Exact', '&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=x', '&resourceVersionMatch=NotOlderThan', '&resourceVersionMatch=Exact&resourceVersion=5', '&sendInitialEvents=x', '&resourceVersion=x', '&resourceVersion=-1', '&timeoutSeconds=x', '&fieldSelector=data.x%3D1', '&labelSelector=a+b', '&sendInitialEvents=false', '&continue=abc', '&limit=1&timeoutSeconds=1', '&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1', '&resourceVersion=999999999&timeoutSeconds=1']
for i, b in enumerate(BADW): case(WT, 'param-%02d' % i, W('w', CMS + '?watch=true&fieldSelector=metadata.name%3Dnone' + b if 'fieldSelector' not in b else CMS + '?watch=true' + b), WE('w', None, 5))
case(WT, 'too-old', POST(CMS, wcm('a'), rec=False), W('w', CMS + '?watch=true&resourceVersion=1'), WE('w', 1), ns='own')
case(WT, 'label-transition', W('w', CMS + WQ + '&resourceVersion=0'), POST(CMS, wcm('a', l='0'), rec=False), PATCH(CMS + '/a', {'metadata': {'labels': {'w': '1'}}}, MP, rec=False), PATCH(CMS + '/a', {'data': {'z': '1'}}, MP, rec=False), PATCH(CMS + '/a', {'metadata': {'labels': {'w': '0'}}}, MP, rec=False), PATCH(CMS + '/a', {'data': {'z': '2'}}, MP, rec=False), PATCH(CMS + '/a', {'metadata': {'labels': {'w': '1'}}}, MP, rec=False), DEL(CMS + '/a', rec=False), WE('w', 5), ns='own')
case(WT, 'field-transition', W('w', P('Pod') + '?watch=true&fieldSelector=spec.nodeName%3Dn1'), POST(P('Pod'), pod(), rec=False), POST(P('Pod', 'p', 'binding'), {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'p'}, 'target': {'kind': 'Node', 'name': 'n1'}}, rec=False), PATCH(P('Pod', 'p', 'status'), {'status': {'phase': 'Running'}}, MP, rec=False), DEL(P('Pod', 'p') + '?gracePeriodSeconds=0', rec=False), WE('w', 3), ns='own')
case(WT, 'field-phase', W('w', P('Pod') + '?watch=true&fieldSelector=status.phase%3DPending'), POST(P('Pod'), pod(), rec=False), PATCH(P('Pod', 'p', 'status'), {'status': {'phase': 'Running'}}, MP, rec=False), PATCH(P('Pod', 'p', 'status'), {'status': {'phase': 'Pending'}}, MP, rec=False), WE('w', 3), ns='own')
case(WT, 'name-selector', POST(CMS, wcm('a'), rec=False), W('w', CMS + '?watch=true&fieldSelector=metadata.name%3Da'), POST(CMS, wcm('b'), rec=False), DEL(CMS + '/a', rec=False), WE('w', 2), W('v', CMS + '/b?watch=true'), WE('v', 1, 2), W('u', '/api/v1/watch/namespaces/$NS/configmaps/b'), WE('u', 1, 2), W('t', '/api/v1/watch/namespaces/$NS/configmaps?labelSelector=w%3D1'), WE('t', 1, 2), ns='own')
case(WT, 'finalizer', POST(CMS, cm('a', {}, {'labels': {'w': '1'}, 'finalizers': ['x.example.com/y']}), rec=False), LST, W('w', CMS + WQ + '&resourceVersion=${rv}'), DEL(CMS + '/a', rec=False), PATCH(CMS + '/a', {'metadata': {'finalizers': None}}, MP, rec=False), WE('w', 2), ns='own')
case(WT, 'pod-graceful', W('w', P('Pod') + '?watch=true'), POST(P('Pod'), pod(spec={'nodeName': 'n'}), rec=False), DEL(P('Pod', 'p'), rec=False), DEL(P('Pod', 'p') + '?gracePeriodSeconds=0', rec=False), WE('w', 4), ns='own')
case(WT, 'deletecollection', *[POST(CMS, wcm('c%d' % i), rec=False) for i in range(3)], LST, W('w', CMS + WQ + '&resourceVersion=${rv}'), DEL(CMS + '?labelSelector=w%3D1', rec=False), WE('w', 3), ns='own')
case(WT, 'table', POST(CMS, wcm('a'), rec=False), LST, W('w', CMS + WQ, TABLE_ONLY), PATCH(CMS + '/a', {'data': {'z': '1'}}, MP, rec=False), DEL(CMS + '/a', rec=False), WE('w', 3), W('v', CMS + WQ + '&resourceVersion=${rv}', TABLE_ONLY), WE('v', 2), ns='own')
case(WT, 'table-bookmark', POST(CMS, wcm('a'), rec=False), W('w', CMS + WQ + SI + '&allowWatchBookmarks=true', TABLE_ONLY), WE('w', 2), ns='own')
case(WT, 'table-pod', POST(P('Pod'), pod(), rec=False), W('w', P('Pod') + '?watch=true', TABLE_ONLY), PATCH(P('Pod', 'p', 'status'), {'status': {'phase': 'Running', 'containerStatuses': [{'name': 'c', 'ready': True, 'restartCount': 3, 'image': 'i', 'imageID': ''}]}}, MP, rec=False), WE('w', 2), ns='own')
case(WT, 'partial', POST(CMS, wcm('a'), rec=False), W('w', CMS + WQ, 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'), PATCH(CMS + '/a', {'data': {'z': '1'}}, MP, rec=False), DEL(CMS + '/a', rec=False), WE('w', 3), ns='own')
case(WT, 'partial-bookmark', POST(CMS, wcm('a'), rec=False), W('w', CMS + WQ + SI + '&allowWatchBookmarks=true', 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'), WE('w', 2), W('v', CMS + WQ + SI + '&allowWatchBookmarks=true', POML), WE('v', 2), ns='own')
case(WT, 'accept', *[x for i, a in enumerate(('application/yaml', 'text/plain', 'application/json;stream=watch', '*/*', 'application/json;as=Nope;v=v1;g=meta.k8s.io')) for x in (W('w%d' % i, CMS + WQ + '&timeoutSeconds=1', a), WE('w%d' % i))], ns='own')
case(WT, 'all-namespaces', W('w', '/api/v1/configmaps?watch=true&labelSelector=wall%3D1'), POST(CMS, cm('a', {}, {'labels': {'wall': '1'}}), rec=False), DEL(CMS + '/a', rec=False), WE('w', 2), ns='own')
case(WT, 'cluster-scope', W('w', P('PriorityClass') + '?watch=true&labelSelector=wpc%3D1'), POST(P('PriorityClass'), O('PriorityClass', 'kg-wpc', {'labels': {'wpc': '1'}}, value=3), rec=False), DEL(P('PriorityClass', 'kg-wpc'), rec=False), WE('w', 2), ns=None)
case(WT, 'apply-noop', POST(CMS, wcm('a'), rec=False), LST, W('w', CMS + WQ + '&resourceVersion=${rv}'), PUT(CMS + '/a', wcm('a'), rec=False), APPLY(CMS + '/a', cm('a', {'q': '1'}), rec=False), APPLY(CMS + '/a', cm('a', {'q': '1'}), rec=False), WE('w', 1), ns='own')
case(WT, 'namespace-missing', W('w', '/api/v1/namespaces/nonexistent/configmaps?watch=true&timeoutSeconds=1'), WE('w'))
case(WT, 'head-forbidden-verbs', W('w', '/api/v1/bindings?watch=true'), WE('w'), W('v', '/apis/authorization.k8s.io/v1/subjectaccessreviews?watch=true'), WE('v'), ns=None)
case(WT, 'event-kinds', W('w', P('Event') + '?watch=true&fieldSelector=involvedObject.name%3Dp'), W('v', P('Event@events.k8s.io/v1') + '?watch=true'), POST(P('Event'), O('Event', 'e', involvedObject=INV, reason='R'), rec=False), WE('w', 1), WE('v', 1), ns='own')
case(WT, 'websocket', GET(CMS + '?watch=true', h={'Upgrade': 'websocket', 'Connection': 'Upgrade'}, proj=lambda b: b), ns='own')

# ---------------------------------------------------------------- group: crd
CR = 'crd'
CRDP = P('CustomResourceDefinition')
def est(n): return WAIT(CRDP + '/' + n, lambda r: any(c['type'] == 'Established' and c['status'] == 'True' for c in r.json['status'].get('conditions', [])), 10)
def served(path): return WAIT(path, lambda r: r.status == 200, 10)
def crp(pl, name=None, sub=None, ver='v1', group='kg.example.com', ns=True):
    return '/apis/%s/%s/%s%s%s%s' % (group, ver, 'namespaces/$NS/' if ns else '', pl, '/' + name if name else '', '/' + sub if sub else '')
def co(kind, name='a', spec=None, ver='v1', meta=None, **k):
    o = {'apiVersion': 'kg.example.com/' + ver, 'kind': kind, 'metadata': dict({'name': name}, **(meta or {}))}
    if spec is not None: o['spec'] = spec
    o.update(k); return o
def crcase(cid, pl, schema, *steps, sort_causes=False, mk=None, ns='shared', **v):
    """creates a CRD with plural pl, waits until it is served, runs the steps, removes it"""
    kind = pl[:-1].capitalize(); d = crd(pl, kind, schema, **v)
    if mk: d = mk(d)
    n = pl + '.kg.example.com'
    case(CR, cid, POST(CRDP, d, rec=False), est(n), served('/apis/kg.example.com/%s/namespaces/kg-crd/%s' % (d['spec']['versions'][0]['name'], pl) if d['spec']['scope'] == 'Namespaced' else '/apis/kg.example.com/%s/%s' % (d['spec']['versions'][0]['name'], pl)), *steps, DEL(CRDP + '/' + n, rec=False), ns=ns, sort_causes=sort_causes)
OBJ = lambda **p: {'type': 'object', 'properties': p}
SPEC = lambda **p: OBJ(spec=OBJ(**p))
S_, I_, B_ = {'type': 'string'}, {'type': 'integer'}, {'type': 'boolean'}
conds = lambda b: {'names': b['status'].get('acceptedNames'), 'stored': b['status'].get('storedVersions'), 'conditions': sorted([c['type'], c['status'], c['reason'], c['message']] for c in b['status'].get('conditions', []))} if 'status' in b and isinstance(b['status'], dict) else b
case(CR, 'create', POST(CRDP, crd('crcas', 'Crca')), est('crcas.kg.example.com'), GET(CRDP + '/crcas.kg.example.com'), GET(CRDP + '/crcas.kg.example.com/status', proj=conds), GET(CRDP + '/crcas.kg.example.com', acc=TABLE_ONLY), ns=None)
case(CR, 'delete', POST(CRDP, crd('crcbs', 'Crcb'), rec=False), est('crcbs.kg.example.com'), served(crp('crcbs')), POST(crp('crcbs'), co('Crcb'), keep=True, rec=False), DEL(CRDP + '/crcbs.kg.example.com'), WAIT(CRDP + '/crcbs.kg.example.com', lambda r: r.status == 404, 15, rec=True), WAIT(crp('crcbs', 'a'), lambda r: r.status == 404, 10, rec=True))
case(CR, 'names-conflict', POST(CRDP, crd('crccs', 'Crcc'), rec=False), est('crccs.kg.example.com'), POST(CRDP, setp(crd('crcds', 'Crcc'), 'spec.names.singular', 'crcc'), rec=False), WAIT(CRDP + '/crcds.kg.example.com', lambda r: any(c['type'] == 'NamesAccepted' for c in r.json['status']['conditions']), rec=True, proj=conds), ns=None)
case(CR, 'names-all', POST(CRDP, sets(crd('crces', 'Crce'), 'spec.names.shortNames', ['ce'], 'spec.names.categories', ['all', 'kg'], 'spec.names.singular', 'crcesing', 'spec.names.listKind', 'CrceAll')), est('crces.kg.example.com'), served(crp('crces', ns=False)), GET(crp('crces', ns=False)), WAIT('/apis/kg.example.com/v1', lambda r: any(x['name'] == 'crces' for x in r.json['resources']), 10), GET('/apis/kg.example.com/v1', proj=lambda b: [x for x in b.get('resources', []) if x['name'].startswith('crces')]), GET('/apis/kg.example.com'), WAIT('/apis', lambda r: any(i['metadata']['name'] == 'kg.example.com' and any(x['resource'] == 'crces' for v in i['versions'] for x in v['resources']) for i in r.json['items']), 10, acc=AGG), GET('/apis', acc=AGG, proj=lambda b: [v for i in b['items'] if i['metadata']['name'] == 'kg.example.com' for v in i['versions'] for v in v['resources'] if v['resource'] == 'crces']), ns=None)
ver0 = 'spec.versions.0.'; sch = ver0 + 'schema.openAPIV3Schema'
for i, pv in {'name': ('metadata.name', 'x.example.com'), 'noversions': ('spec.versions', []), 'nogroup': ('spec.group', ''), 'scope': ('spec.scope', 'X'), 'nokind': ('spec.names.kind', ''), 'pluralupper': ('spec.names.plural', 'UP'), 'nostorage': (ver0 + 'storage', False), 'noschema': (ver0 + 'schema', None), 'twostorage': ('spec.versions.+', {'name': 'v2', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object'}}}), 'dupversion': ('spec.versions.+', {'name': 'v1', 'served': True, 'storage': False, 'schema': {'openAPIV3Schema': {'type': 'object'}}}), 'badversion': (ver0 + 'name', 'V_1'), 'nonstructural-notype': (sch, {'properties': {'a': {'type': 'string'}}}), 'nonstructural-prop': (sch, OBJ(a={'properties': {'b': S_}})), 'noitems': (sch, OBJ(a={'type': 'array'})), 'toplevel-string': (sch, {'type': 'string'}), 'badtype': (sch, OBJ(a={'type': 'nope'})), 'both-addl': (sch, {'type': 'object', 'properties': {'a': S_}, 'additionalProperties': S_}), 'addl-false': (sch, OBJ(a={'type': 'object', 'additionalProperties': False})), 'nullable-default': (sch, OBJ(a={'type': 'string', 'default': None})), 'default-type': (sch, OBJ(a={'type': 'string', 'default': 5})), 'default-enum': (sch, OBJ(a={'type': 'string', 'enum': ['x'], 'default': 'y'})), 'default-prune': (sch, OBJ(a={'type': 'object', 'properties': {'b': S_}, 'default': {'c': 1}})), 'ref': (sch, OBJ(a={'$ref': '#/x'})), 'unique': (sch, OBJ(a={'type': 'array', 'items': S_, 'uniqueItems': True})), 'pattern': (sch, OBJ(a={'type': 'string', 'pattern': '['})), 'int-or-string': (sch, OBJ(a={'x-kubernetes-int-or-string': True, 'type': 'string'})), 'embedded': (sch, OBJ(a={'type': 'string', 'x-kubernetes-embedded-resource': True})), 'preserve-false': (sch, OBJ(a={'type': 'object', 'x-kubernetes-preserve-unknown-fields': False})), 'listtype': (sch, OBJ(a={'type': 'array', 'items': S_, 'x-kubernetes-list-type': 'map'})), 'listmapkeys': (sch, OBJ(a={'type': 'array', 'items': OBJ(k=S_), 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['k']})), 'listtype-x': (sch, OBJ(a={'type': 'array', 'items': S_, 'x-kubernetes-list-type': 'x'})), 'maptype': (sch, OBJ(a={'type': 'object', 'x-kubernetes-map-type': 'x'})), 'anyof-type': (sch, OBJ(a={'type': 'string', 'anyOf': [{'type': 'integer'}]})), 'not-default': (sch, OBJ(a={'type': 'string', 'not': {'default': 'x'}})), 'metadata-schema': (sch, OBJ(metadata={'type': 'object', 'properties': {'labels': {'type': 'object'}}})), 'cel-syntax': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'self >'}]})), 'cel-type': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'self + 1'}]})), 'cel-undeclared': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'foo == 1'}]})), 'cel-empty': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': ''}]})), 'cel-cost': (sch, OBJ(a={'type': 'array', 'items': {'type': 'array', 'items': {'type': 'array', 'items': S_}}, 'x-kubernetes-validations': [{'rule': 'self.all(x, x.all(y, y.all(z, z == "a")))'}]})), 'cel-msgexpr': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'self > 1', 'messageExpression': '1'}]})), 'cel-reason': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'self > 1', 'reason': 'X'}]})), 'cel-fieldpath': (sch, OBJ(a={'type': 'object', 'properties': {'b': S_}, 'x-kubernetes-validations': [{'rule': 'true', 'fieldPath': '.zz'}]})), 'cel-newline': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'self > 1', 'message': 'a\nb'}]})), 'cel-message': (sch, OBJ(a={'type': 'integer', 'x-kubernetes-validations': [{'rule': 'self > 1\n&& self < 5'}]})), 'column-path': (ver0 + 'additionalPrinterColumns', [{'name': 'a', 'type': 'string', 'jsonPath': 'x'}]), 'column-type': (ver0 + 'additionalPrinterColumns', [{'name': 'a', 'type': 'x', 'jsonPath': '.spec'}]), 'column-format': (ver0 + 'additionalPrinterColumns', [{'name': '', 'type': 'string', 'format': 'x', 'jsonPath': ''}]), 'scale-path': (ver0 + 'subresources', {'scale': {'specReplicasPath': 'spec.x', 'statusReplicasPath': '.status.y'}}), 'scale-none': (ver0 + 'subresources', {'scale': {}}), 'status-set': ('status', {'storedVersions': []}), 'conversion': ('spec.conversion', {'strategy': 'X'}), 'webhook-none': ('spec.conversion', {'strategy': 'Webhook'}), 'preserve-top': ('spec.preserveUnknownFields', True), 'selectable': (ver0 + 'selectableFields', [{'jsonPath': '.spec.zz'}]), 'selectable-type': (sch, OBJ(spec=OBJ(a={'type': 'object'})), ver0 + 'selectableFields', [{'jsonPath': '.spec.a'}]), 'selectable-dup': (sch, SPEC(a=S_), ver0 + 'selectableFields', [{'jsonPath': '.spec.a'}, {'jsonPath': '.spec.a'}]), 'k8s-group': ('spec.group', 'foo.k8s.io', 'metadata.name', 'widgets.foo.k8s.io'), 'badgroup': ('spec.group', 'UP', 'metadata.name', 'widgets.UP'), 'shortnames': ('spec.names.shortNames', ['A B']), 'deprecation': (ver0 + 'deprecationWarning', 'x'), 'enum-dup': (sch, OBJ(a={'type': 'string', 'enum': ['x', 'x']})), 'min-gt-max': (sch, OBJ(a={'type': 'integer', 'minimum': 5, 'maximum': 1})), 'format-unknown': (sch, OBJ(a={'type': 'string', 'format': 'nope'})), 'nested-array-default': (sch, OBJ(a={'type': 'array', 'items': {'type': 'object', 'properties': {'b': {'type': 'string', 'default': 'x'}}}})), 'id': (sch, {'type': 'object', 'id': 'x'}), 'required-str': (sch, {'type': 'object', 'required': ['spec', 'zz']})}.items():
    case(CR, 'invalid-' + i, POST(CRDP + '?dryRun=All', sets(crd('crinvs', 'Crinv'), *pv)), ns=None)
case(CR, 'update-rules', POST(CRDP, crd('crups', 'Crup'), rec=False), est('crups.kg.example.com'), *[x for pv in (('spec.group', 'z.example.com'), ('spec.scope', 'Cluster'), ('spec.names.plural', 'zz'), ('spec.names.kind', 'Zz'), (ver0 + 'name', 'v2'), (ver0 + 'served', False), (sch, {'type': 'object'}), (sch, OBJ(spec={'type': 'array'})), ('metadata.name', 'y')) for x in (GET(CRDP + '/crups.kg.example.com', rec=False), PUT(CRDP + '/crups.kg.example.com?dryRun=All', lambda c, pv=pv: sets(c.last, *pv), proj=lambda b: b if b.get('kind') == 'Status' else [b['kind'], b['metadata']['generation'], conds(b)]))], PATCH(CRDP + '/crups.kg.example.com/status', {'status': {'storedVersions': []}}, MP, proj=lambda b: b if b.get('kind') == 'Status' else conds(b)), PATCH(CRDP + '/crups.kg.example.com/status', {'status': {'storedVersions': ['v9', 'v1']}}, MP, proj=lambda b: b if b.get('kind') == 'Status' else conds(b)), ns=None)
full = OBJ(spec={'type': 'object', 'required': ['req'], 'properties': {'req': S_, 'num': {'type': 'integer', 'minimum': 1, 'maximum': 10, 'multipleOf': 2}, 'i32': {'type': 'integer', 'format': 'int32'}, 'f': {'type': 'number', 'exclusiveMinimum': True, 'minimum': 0}, 'str': {'type': 'string', 'minLength': 2, 'maxLength': 4, 'pattern': '^[a-z]+$'}, 'en': {'type': 'string', 'enum': ['a', 'b']}, 'dt': {'type': 'string', 'format': 'date-time'}, 'ip': {'type': 'string', 'format': 'ipv4'}, 'byte': {'type': 'string', 'format': 'byte'}, 'arr': {'type': 'array', 'maxItems': 2, 'minItems': 1, 'items': I_}, 'ios': {'x-kubernetes-int-or-string': True}, 'nul': {'type': 'string', 'nullable': True}, 'map': {'type': 'object', 'maxProperties': 1, 'additionalProperties': I_}, 'lm': {'type': 'array', 'items': {'type': 'object', 'required': ['k'], 'properties': {'k': S_, 'v': S_}}, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['k']}, 'set': {'type': 'array', 'items': S_, 'x-kubernetes-list-type': 'set'}, 'one': {'type': 'object', 'properties': {'x': S_, 'y': S_}, 'oneOf': [{'required': ['x']}, {'required': ['y']}]}, 'any': {'type': 'integer', 'anyOf': [{'minimum': 5}, {'maximum': 2}]}, 'not': {'type': 'string', 'not': {'enum': ['bad']}}, 'b': B_, 'uuid': {'type': 'string', 'format': 'uuid'}, 'dur': {'type': 'string', 'format': 'duration'}, 'emb': {'type': 'object', 'x-kubernetes-embedded-resource': True, 'x-kubernetes-preserve-unknown-fields': True}}})
FB = [('ok', {'req': 'x'}), ('missing', {}), ('null-req', {'req': None}), ('type', {'req': 5}), ('min', {'req': 'x', 'num': 0}), ('max', {'req': 'x', 'num': 12}), ('multiple', {'req': 'x', 'num': 3}), ('float', {'req': 'x', 'num': 2.5}), ('i32', {'req': 'x', 'i32': 1 << 33}), ('excl', {'req': 'x', 'f': 0}), ('short', {'req': 'x', 'str': 'a'}), ('long', {'req': 'x', 'str': 'abcde'}), ('pattern', {'req': 'x', 'str': 'AB'}), ('enum', {'req': 'x', 'en': 'c'}), ('dt', {'req': 'x', 'dt': 'yesterday'}), ('ip', {'req': 'x', 'ip': '1.2.3'}), ('byte', {'req': 'x', 'byte': '!'}), ('arrmax', {'req': 'x', 'arr': [1, 2, 3]}), ('arrmin', {'req': 'x', 'arr': []}), ('arrtype', {'req': 'x', 'arr': ['a']}), ('ios', {'req': 'x', 'ios': True}), ('ios-ok', {'req': 'x', 'ios': '5%'}), ('nullable', {'req': 'x', 'nul': None}), ('nonnull', {'req': 'x', 'str': None}), ('mapmax', {'req': 'x', 'map': {'a': 1, 'b': 2}}), ('maptype', {'req': 'x', 'map': {'a': 'x'}}), ('lmdup', {'req': 'x', 'lm': [{'k': 'a'}, {'k': 'a'}]}), ('lmkey', {'req': 'x', 'lm': [{'v': 'a'}]}), ('setdup', {'req': 'x', 'set': ['a', 'a']}), ('oneof', {'req': 'x', 'one': {'x': 'a', 'y': 'b'}}), ('oneofnone', {'req': 'x', 'one': {}}), ('anyof', {'req': 'x', 'any': 3}), ('not', {'req': 'x', 'not': 'bad'}), ('bool', {'req': 'x', 'b': 'true'}), ('uuid', {'req': 'x', 'uuid': 'x'}), ('dur', {'req': 'x', 'dur': 'x'}), ('emb', {'req': 'x', 'emb': {'a': 1}}), ('emb-ok', {'req': 'x', 'emb': {'apiVersion': 'v1', 'kind': 'X', 'metadata': {'name': 'q', 'zz': 1}}}), ('many', {'num': 0, 'str': 'A', 'en': 'z', 'b': 5}), ('specstr', 'x'), ('unknown', {'req': 'x', 'unk': 1})]
crcase('schema-validation', 'crsvs', full, *[POST(crp('crsvs') + '?dryRun=All', co('Crsv', n, s)) for n, s in FB], POST(crp('crsvs'), co('Crsv', 'A_')), POST(crp('crsvs') + '?fieldValidation=Strict', co('Crsv', 'a', {'req': 'x', 'unk': 1, 'lm': [{'k': 'a', 'z': 1}]}, zz=5)), POST(crp('crsvs') + '?fieldValidation=Warn&dryRun=All', co('Crsv', 'a', {'req': 'x', 'unk': 1}, zz=5)), POST(crp('crsvs') + '?fieldValidation=Strict', '{"apiVersion":"kg.example.com/v1","kind":"Crsv","metadata":{"name":"a","zz":1},"spec":{"req":"x","req":"y"}}'), sort_causes=True)
crcase('pruning', 'crprs', OBJ(spec=OBJ(a=S_, keep={'type': 'object', 'x-kubernetes-preserve-unknown-fields': True, 'properties': {'in': OBJ(x=S_)}})), POST(crp('crprs'), co('Crpr', 'a', {'a': 'x', 'drop': 1, 'keep': {'foo': {'bar': 1}, 'in': {'x': 'y', 'z': 1}}}, status={'s': 1}, junk=5)), PATCH(crp('crprs', 'a'), {'spec': {'drop': 2}}, MP), PATCH(crp('crprs', 'a'), {'spec': {'keep': {'more': [1, {'a': None}]}}}, MP), PATCH(crp('crprs', 'a'), {'spec': {}}, SMP), PATCH(crp('crprs', 'a'), J(('add', '/spec/drop', 1)), JP))
crcase('preserve-root', 'crpus', {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}, POST(crp('crpus'), co('Crpu', 'a', {'x': {'y': [1, 2.5, True, None, 'z', 1e30, 12345678901234567890]}}, other={'a': 1})), GET(crp('crpus', 'a')))
crcase('defaulting', 'crdfs', OBJ(spec={'type': 'object', 'default': {}, 'properties': {'a': {'type': 'string', 'default': 'dx'}, 'n': {'type': 'integer', 'default': 3}, 'o': {'type': 'object', 'properties': {'b': {'type': 'boolean', 'default': True}}}, 'l': {'type': 'array', 'items': {'type': 'object', 'properties': {'p': {'type': 'string', 'default': 'TCP'}}}}, 'nul': {'type': 'string', 'nullable': True, 'default': 'q'}}}), POST(crp('crdfs'), co('Crdf', 'a')), POST(crp('crdfs'), co('Crdf', 'b', {'a': None, 'o': {}, 'l': [{}, {'p': 'UDP'}], 'nul': None})), PATCH(crp('crdfs', 'b'), {'spec': {'a': None, 'n': None}}, MP), PATCH(CRDP + '/crdfs.kg.example.com', [{'op': 'add', 'path': '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/late', 'value': {'type': 'string', 'default': 'new'}}], JP, rec=False), WAIT(crp('crdfs', 'a'), lambda r: r.json['spec'].get('late') == 'new', 8, rec=True))
X = 'x-kubernetes-validations'
celsch = OBJ(spec={'type': 'object', 'properties': {'a': {'type': 'integer', X: [{'rule': 'self > 0'}]}, 'b': {'type': 'string', 'maxLength': 50, X: [{'rule': "self.startsWith('x')", 'message': 'must start with x', 'reason': 'FieldValueForbidden'}, {'rule': 'self == oldSelf', 'message': 'b is immutable'}]}, 'l': {'type': 'array', 'maxItems': 5, 'items': {'type': 'object', 'properties': {'n': {'type': 'integer'}}, X: [{'rule': 'self.n < 5', 'messageExpression': "'n over ' + 'limit'", 'fieldPath': '.n'}]}}, 'q': {'type': 'string', 'maxLength': 20, X: [{'rule': 'isQuantity(self)'}]}, 'c': {'type': 'integer', X: [{'rule': '10 / self > 1'}]}, 'm': {'type': 'object', 'maxProperties': 5, 'additionalProperties': I_, X: [{'rule': 'self.all(k, self[k] > 0)', 'message': 'all positive'}]}, 'opt': {'type': 'string', 'maxLength': 9, X: [{'rule': '!oldSelf.hasValue() || oldSelf.value() == self', 'optionalOldSelf': True, 'message': 'no change'}]}}, X: [{'rule': '!has(self.a) || !has(self.c) || self.a >= self.c', 'message': 'a >= c'}, {'rule': 'has(self.b) || !has(oldSelf.b)', 'message': 'b cannot be removed'}]})
crcase('cel', 'crcls', celsch,  *[POST(crp('crcls') + '?dryRun=All', co('Crcl', n, s)) for n, s in (('ok', {'a': 1, 'b': 'xy'}), ('a', {'a': 0}), ('b', {'b': 'y'}), ('l', {'l': [{'n': 1}, {'n': 7}, {'n': 9}]}), ('q', {'q': 'nope'}), ('div', {'c': 0}), ('m', {'m': {'k': 0}}), ('cross', {'a': 1, 'c': 2}), ('many', {'a': 0, 'b': 'z', 'c': 50}), ('type', {'a': 'x'}))], POST(crp('crcls'), co('Crcl', 'u', {'b': 'xa', 'opt': 'o'}), rec=False), PATCH(crp('crcls', 'u'), {'spec': {'b': 'xb'}}, MP), PATCH(crp('crcls', 'u'), {'spec': {'b': None}}, MP), PATCH(crp('crcls', 'u'), {'spec': {'opt': 'p'}}, MP), PATCH(crp('crcls', 'u'), {'spec': {'a': 5}}, MP), sort_causes=True)
crcase('ratcheting', 'crras', SPEC(a={'type': 'string'}, b=I_), POST(crp('crras'), co('Crra', 'a', {'a': 'LONG', 'b': 1}), rec=False), PATCH(CRDP + '/crras.kg.example.com', [{'op': 'add', 'path': '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a/maxLength', 'value': 2}], JP, rec=False), WAIT(CRDP + '/crras.kg.example.com', lambda r: True), SLEEP(1.0), PATCH(crp('crras', 'a'), {'spec': {'b': 2}}, MP), PATCH(crp('crras', 'a'), {'spec': {'a': 'OTHER'}}, MP), POST(crp('crras'), co('Crra', 'n', {'a': 'LONG'})))
PCOL = [{'name': 'A', 'type': 'string', 'jsonPath': '.spec.a'}, {'name': 'N', 'type': 'integer', 'jsonPath': '.spec.n', 'priority': 1, 'description': 'the n', 'format': 'int32'}, {'name': 'B', 'type': 'boolean', 'jsonPath': '.spec.b'}, {'name': 'D', 'type': 'date', 'jsonPath': '.metadata.creationTimestamp'}, {'name': 'L', 'type': 'string', 'jsonPath': '.spec.l[*]'}, {'name': 'C', 'type': 'string', 'jsonPath': ".spec.c[?(@.t=='R')].s"}, {'name': 'F', 'type': 'number', 'jsonPath': '.spec.f'}, {'name': 'M', 'type': 'string', 'jsonPath': '.spec'}]
crcase('columns', 'crpcs', SPEC(a=S_, n=I_, b=B_, f={'type': 'number'}, l={'type': 'array', 'items': S_}, c={'type': 'array', 'items': OBJ(t=S_, s=S_)}), POST(crp('crpcs'), co('Crpc', 'a', {'a': 'x', 'n': 3, 'b': True, 'f': 1.5, 'l': ['p', 'q'], 'c': [{'t': 'R', 's': 'True'}]}), rec=False), POST(crp('crpcs'), co('Crpc', 'b', {}), rec=False), GET(crp('crpcs'), acc=TABLE_ONLY), GET(crp('crpcs', 'b'), acc=TABLE_ONLY), GET(crp('crpcs'), acc=POML), additionalPrinterColumns=PCOL)
crcase('columns-default', 'crpds', SPEC(a=S_), POST(crp('crpds'), co('Crpd'), rec=False), GET(crp('crpds'), acc=TABLE_ONLY))
crcase('status', 'crsts', OBJ(spec=OBJ(a=S_), status=OBJ(s=S_)), POST(crp('crsts'), co('Crst', 'a', {'a': '1'}, status={'s': 'x'})), PATCH(crp('crsts', 'a'), {'status': {'s': 'y'}, 'spec': {'a': '2'}}, MP), PATCH(crp('crsts', 'a', 'status'), {'status': {'s': 'z'}, 'spec': {'a': '3'}, 'metadata': {'labels': {'a': 'b'}}}, MP), PUT(crp('crsts', 'a', 'status'), co('Crst', 'a', {'a': '4'}, status={'s': 'w'})), GET(crp('crsts', 'a', 'status')), GET(crp('crsts', 'a', 'scale')), PATCH(crp('crsts', 'a', 'status'), {'status': {'s': 5}}, MP), PATCH(crp('crsts', 'a'), {'metadata': {'labels': {'q': 'r'}}}, MP), subresources={'status': {}})
crcase('no-status', 'crnss', OBJ(spec=OBJ(a=S_), status=OBJ(s=S_)), POST(crp('crnss'), co('Crns', 'a', {'a': '1'}, status={'s': 'x'})), GET(crp('crnss', 'a', 'status')), PATCH(crp('crnss', 'a'), {'status': {'s': 'y'}}, MP), PATCH(crp('crnss', 'a'), {'metadata': {'labels': {'a': 'b'}}}, MP))
crcase('scale', 'crscs', OBJ(spec=OBJ(r=I_), status=OBJ(r=I_, sel=S_)), POST(crp('crscs'), co('Crsc', 'a', {'r': 2}), rec=False), GET(crp('crscs', 'a', 'scale')), PATCH(crp('crscs', 'a', 'status'), {'status': {'r': 1, 'sel': 'a=b'}}, MP, rec=False), GET(crp('crscs', 'a', 'scale')), PATCH(crp('crscs', 'a', 'scale'), {'spec': {'replicas': 5}}, MP), PUT(crp('crscs', 'a', 'scale'), {'apiVersion': 'autoscaling/v1', 'kind': 'Scale', 'metadata': {'name': 'a', 'namespace': '$NS'}, 'spec': {'replicas': 7}}), PATCH(crp('crscs', 'a', 'scale'), {'spec': {'replicas': -1}}, MP), GET(crp('crscs', 'a')), POST(crp('crscs'), co('Crsc', 'n', {}), rec=False), GET(crp('crscs', 'n', 'scale')), APPLY(crp('crscs', 'a', 'scale'), {'apiVersion': 'autoscaling/v1', 'kind': 'Scale', 'metadata': {'name': 'a', 'namespace': '$NS'}, 'spec': {'replicas': 9}}, 'x', 'true'), subresources={'status': {}, 'scale': {'specReplicasPath': '.spec.r', 'statusReplicasPath': '.status.r', 'labelSelectorPath': '.status.sel'}})
V2 = {'name': 'v2', 'served': True, 'storage': False, 'schema': {'openAPIV3Schema': SPEC(a=S_, c={'type': 'string', 'default': 'two'})}}
crcase('versions', 'crves', SPEC(a=S_, b={'type': 'string', 'default': 'one'}), POST(crp('crves'), co('Crve', 'a', {'a': 'x'})), WAIT(crp('crves', 'a', ver='v2'), lambda r: r.status == 200, 8), GET(crp('crves', 'a', ver='v2')), POST(crp('crves', ver='v2'), co('Crve', 'b', {'c': 'y'}, 'v2')), GET(crp('crves', 'b')), GET(crp('crves', ver='v2'), proj=lambda b: [b['kind'], b['apiVersion'], [[i['apiVersion'], i['metadata']['name'], i['spec']] for i in b['items']]]), PATCH(crp('crves', 'a', ver='v2'), {'spec': {'c': 'z'}}, MP), GET(crp('crves', 'a')), POST(crp('crves', ver='v2'), co('Crve', 'c', {}, 'v1')), APPLY(crp('crves', 'a', ver='v2'), co('Crve', 'a', {'a': 'ap'}, 'v2'), 'm', 'true'), GET(crp('crves', 'x', ver='v3')), mk=lambda d: setp(d, 'spec.versions.+', V2))
crcase('deprecated', 'crdps', SPEC(a=S_), GET(crp('crdps'), proj=names), POST(crp('crdps'), co('Crdp'), proj=lambda b: b['kind']), deprecated=True, deprecationWarning='old thing')
crcase('deprecated2', 'crdqs', SPEC(a=S_), GET(crp('crdqs'), proj=names), deprecated=True)
crcase('unserved', 'crunss', SPEC(a=S_), GET(crp('crunss', ver='v0')), GET('/apis/kg.example.com/v0'), mk=lambda d: setp(d, 'spec.versions.+', {'name': 'v0', 'served': False, 'storage': False, 'schema': {'openAPIV3Schema': {'type': 'object'}}}))
crcase('selectable', 'crsls', SPEC(a=S_, n=I_, b=B_), POST(crp('crsls'), co('Crsl', 'a', {'a': 'x', 'n': 1, 'b': True}), rec=False), POST(crp('crsls'), co('Crsl', 'b', {'a': 'y'}), rec=False), *[GET(crp('crsls') + '?fieldSelector=' + f, proj=names) for f in ('spec.a=x', 'spec.a!=x', 'spec.n=1', 'spec.n=', 'spec.b=true', 'spec.z=1', 'metadata.name=a,spec.a=x')], W('w', crp('crsls') + '?watch=true&fieldSelector=spec.a%3Dx'), PATCH(crp('crsls', 'b'), {'spec': {'a': 'x'}}, MP, rec=False), PATCH(crp('crsls', 'a'), {'spec': {'a': 'z'}}, MP, rec=False), WE('w', 3), selectableFields=[{'jsonPath': '.spec.a'}, {'jsonPath': '.spec.n'}, {'jsonPath': '.spec.b'}])
crcase('cluster', 'crccls', SPEC(a=S_), POST(crp('crccls', ns=False), co('Crccl', 'kg-a', {'a': '1'})), GET(crp('crccls', ns=False), proj=names), GET('/apis/kg.example.com/v1/namespaces/$NS/crccls'), POST(crp('crccls', ns=False), co('Crccl', 'kg-b', {}, meta={'namespace': 'x'})), GET(crp('crccls', 'kg-a', ns=False), acc=TABLE_ONLY), scope='Cluster')
crcase('verbs', 'crvbs', SPEC(a=S_, l={'type': 'array', 'items': S_}), POST(crp('crvbs'), co('Crvb', 'a', {'a': '1'}, meta={'labels': {'x': 'y'}})), POST(crp('crvbs'), co('Crvb', 'a')), PUT(crp('crvbs', 'a'), co('Crvb', 'a', {'a': '2'})), PUT(crp('crvbs', 'a'), lambda c: co('Crvb', 'a', {'a': '2'}, meta={'resourceVersion': c.r[-2].json['metadata'].get('resourceVersion', '1') if c.r[-2].json.get('metadata') else '1'})), PUT(crp('crvbs', 'zz'), co('Crvb', 'zz')), PATCH(crp('crvbs', 'a'), {'spec': {'l': ['q']}}, MP), PATCH(crp('crvbs', 'a'), {'metadata': {'labels': {'x': None}}}, MP), POST(crp('crvbs'), {'kind': 'Nope', 'apiVersion': 'kg.example.com/v1', 'metadata': {'name': 'q'}}), POST(crp('crvbs'), co('Crvb', 'q', ver='v9')), POST(crp('crvbs'), {'metadata': {'name': 'q'}}), POST(crp('crvbs'), co('Crvb', None, meta={'generateName': 'gc-'})), GET(crp('crvbs') + '?labelSelector=x', proj=names), GET(crp('crvbs') + '?fieldSelector=spec.a%3D1'), GET(crp('crvbs', 'zz')), DEL(crp('crvbs', 'zz')), DEL(crp('crvbs', 'a') + '?dryRun=All'), DEL(crp('crvbs', 'a')), POST(crp('crvbs'), 'x', ct=PB), GET(crp('crvbs'), acc=PB), GET(crp('crvbs'), acc=PBL, proj=lambda b: b.get('kind')), POST(crp('crvbs'), 'apiVersion: kg.example.com/v1\nkind: Crvb\nmetadata: {name: y}\nspec: {a: "1", a: "2"}\n', ct='application/yaml'), DEL(crp('crvbs'), proj=names), POST(crp('crvbs'), co('Crvb', 'f', meta=FM), rec=False), DEL(crp('crvbs', 'f')), PATCH(crp('crvbs', 'f'), {'metadata': {'finalizers': None}}, MP), POST(crp('crvbs', ns=True).replace('$NS', 'nonexistent'), co('Crvb', 'a')))
crcase('apply', 'craps', OBJ(spec=OBJ(a=S_, at={'type': 'array', 'items': S_}, set={'type': 'array', 'items': S_, 'x-kubernetes-list-type': 'set'}, lm={'type': 'array', 'items': {'type': 'object', 'required': ['k'], 'properties': {'k': S_, 'v': S_}}, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['k']}, am={'type': 'object', 'additionalProperties': S_, 'x-kubernetes-map-type': 'atomic'}, gm={'type': 'object', 'additionalProperties': S_})),
   APPLY(crp('craps', 'a'), co('Crap', 'a', {'a': '1', 'at': ['x'], 'set': ['p', 'q'], 'lm': [{'k': 'a', 'v': '1'}], 'am': {'x': '1'}, 'gm': {'x': '1'}})), APPLY(crp('craps', 'a'), co('Crap', 'a', {'set': ['q', 'r'], 'lm': [{'k': 'b', 'v': '2'}], 'gm': {'y': '2'}}), 'm2'), APPLY(crp('craps', 'a'), co('Crap', 'a', {'at': ['z'], 'am': {'y': '2'}, 'lm': [{'k': 'a', 'v': '9'}]}), 'm2'), APPLY(crp('craps', 'a'), co('Crap', 'a', {'a': '1'})), APPLY(crp('craps', 'a'), co('Crap', 'a', {'unknown': 1}), 'm3'), APPLY(crp('craps', 'a') , co('Crap', 'a', {'set': ['d', 'd']}), 'm4'), APPLY(crp('craps', 'a') + '?fieldValidation=Strict', co('Crap', 'a', {'unknown': 1}), 'm3'), GET(crp('craps', 'a')))
crcase('openapi', 'croas', OBJ(spec={'type': 'object', 'description': 'the spec', 'properties': {'a': {'type': 'string', 'default': 'x', 'enum': ['x', 'y']}, 'ios': {'x-kubernetes-int-or-string': True}, 'pres': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}, 'n': {'type': 'integer', 'nullable': True, X: [{'rule': 'self > 0'}]}}}), WAIT('/openapi/v3/apis/kg.example.com/v1', lambda r: 'com.example.kg.v1.Croa' in r.json['components']['schemas'], 15), GET('/openapi/v3/apis/kg.example.com/v1', proj=lambda b: {'paths': {k: v for k, v in oa3(b)['paths'].items() if 'croas' in k}, 'schemas': {k: v for k, v in b['components']['schemas'].items() if 'Croa' in k}}), WAIT('/openapi/v2', lambda r: 'com.example.kg.v1.Croa' in r.json['definitions'], 15), GET('/openapi/v2', proj=lambda b: {k: v for k, v in b['definitions'].items() if 'Croa' in k}), subresources={'status': {}})
crcase('default-update', 'crdus', OBJ(spec=OBJ(a={'type': 'string', 'default': 'd'})), POST(crp('crdus'), co('Crdu', 'a', {})), PUT(crp('crdus', 'a'), co('Crdu', 'a', {})), PUT(crp('crdus', 'a'), lambda c: dict(c.r[-2].json, spec={'a': 'z'})), GET(crp('crdus', 'a')))

# ---------------------------------------------------------------- group: admission
AD = 'admission'
def own(cid, *st, **k): case(AD, cid, *st, ns='own', **k)
LR = lambda *l: POST(P('LimitRange'), O('LimitRange', 'l', spec={'limits': list(l)}), rec=False)
def rpod(n='p', req=None, lim=None): return pod(n, resources={k: v for k, v in (('requests', req), ('limits', lim)) if v})
own('limitranger-default', LR({'type': 'Container', 'default': {'cpu': '500m', 'memory': '64Mi'}, 'defaultRequest': {'cpu': '100m'}}), SLEEP(0.3), POST(P('Pod'), pod()), POST(P('Pod'), rpod('q', {'cpu': '50m'}, {'memory': '1Gi'})), POST(P('Pod'), O('Pod', 'i', spec={'initContainers': [dict(CTR, name='i')], 'containers': [CTR]})))
own('limitranger-violate', LR({'type': 'Container', 'max': {'cpu': '1'}, 'min': {'cpu': '100m', 'memory': '10Mi'}, 'maxLimitRequestRatio': {'cpu': '2'}}, {'type': 'Pod', 'max': {'memory': '1Gi'}}), SLEEP(0.3), *[POST(P('Pod') + '?dryRun=All', rpod('p', a, b)) for a, b in ((None, None), ({'cpu': '10m', 'memory': '20Mi'}, {'cpu': '20m', 'memory': '20Mi'}), ({'cpu': '1', 'memory': '20Mi'}, {'cpu': '2', 'memory': '20Mi'}), ({'cpu': '100m', 'memory': '20Mi'}, {'cpu': '900m', 'memory': '20Mi'}), ({'cpu': '500m', 'memory': '2Gi'}, {'cpu': '500m', 'memory': '2Gi'}), ({'cpu': '500m', 'memory': '1Mi'}, {'cpu': '500m', 'memory': '2Mi'}))], sort_causes=True)
own('limitranger-pvc', LR({'type': 'PersistentVolumeClaim', 'min': {'storage': '2Gi'}, 'max': {'storage': '5Gi'}}), SLEEP(0.3), POST(P('PersistentVolumeClaim') + '?dryRun=All', O('PersistentVolumeClaim', 'c', spec=PVCS)), POST(P('PersistentVolumeClaim') + '?dryRun=All', setp(O('PersistentVolumeClaim', 'c', spec=PVCS), 'spec.resources.requests.storage', '9Gi')))
qready = lambda r: r.json.get('status', {}).get('used') is not None and set(r.json['status']['hard']) == set(r.json['spec']['hard'])
def RQ(hard, **s): return [POST(P('ResourceQuota'), O('ResourceQuota', 'q', spec=dict({'hard': hard}, **s)), rec=False), WAIT(P('ResourceQuota', 'q'), qready, 15)]
QG = GET(P('ResourceQuota', 'q'), proj=lambda b: b.get('status'))
own('quota-pods', RQ({'pods': '2', 'requests.cpu': '1', 'limits.memory': '1Gi'}), QG, POST(P('Pod'), pod()), POST(P('Pod'), rpod('a', {'cpu': '600m'}, {'memory': '512Mi'}), proj=lambda b: b.get('kind')), QG, POST(P('Pod'), rpod('b', {'cpu': '600m'}, {'memory': '600Mi'})), POST(P('Pod'), rpod('b', {'cpu': '100m'}, {'memory': '100Mi'}), proj=lambda b: b.get('kind')), POST(P('Pod'), rpod('c', {'cpu': '1m'}, {'memory': '1Mi'})), GET(P('ResourceQuota', 'q'), acc=TABLE_ONLY))
own('quota-counts', RQ({'count/configmaps': '2', 'services.nodeports': '1', 'secrets': '1', 'count/deployments.apps': '0', 'persistentvolumeclaims': '1', 'requests.storage': '1Gi', 'services.loadbalancers': '0'}), POST(P('ConfigMap'), cm('a'), proj=lambda b: b.get('kind')), POST(P('ConfigMap'), cm('b')), POST(P('Deployment'), O('Deployment', 'd', spec=RS)), POST(P('Secret'), O('Secret', 'a'), proj=lambda b: b.get('kind')), POST(P('Secret'), O('Secret', 'b')), POST(P('Service'), O('Service', 'a', spec={'type': 'NodePort', 'ports': SP}), proj=lambda b: b.get('kind')), POST(P('Service'), O('Service', 'b', spec={'type': 'NodePort', 'ports': SP})), POST(P('Service'), O('Service', 'c', spec={'type': 'LoadBalancer', 'ports': SP})), POST(P('PersistentVolumeClaim'), setp(PC, 'spec.resources.requests.storage', '2Gi')), POST(P('PersistentVolumeClaim'), PC, proj=lambda b: b.get('kind')), POST(P('PersistentVolumeClaim'), setp(PC, 'metadata.name', 'd')), QG)
own('quota-scopes', RQ({'pods': '0'}, scopes=['BestEffort']), POST(P('Pod'), pod()), POST(P('Pod'), rpod('b', {'cpu': '1m'}), proj=lambda b: b.get('kind')))
own('quota-two', RQ({'pods': '0'}), POST(P('ResourceQuota'), O('ResourceQuota', 'r', spec={'hard': {'pods': '0', 'requests.cpu': '1'}}), rec=False), WAIT(P('ResourceQuota', 'r'), qready, 15), POST(P('Pod'), rpod('b', {'cpu': '2'}), proj=lambda b: [b.get('code'), 'exceeded quota' in b.get('message', '')]))
def pss(cid, labels, *pods, wl=()):
    case(AD, 'podsecurity-' + cid, PATCH('/api/v1/namespaces/$NS', {'metadata': {'labels': {'pod-security.kubernetes.io/' + k: x for k, x in labels.items()}}}, MP, rec=False), SLEEP(0.3), *[POST(P('Pod') + '?dryRun=All', p, proj=lambda b: b if b.get('kind') == 'Status' else 'created') for p in pods], *[POST(P(o['kind']) + '?dryRun=All', o, proj=lambda b: b if b.get('kind') == 'Status' else 'created') for o in wl], ns='own')
BADPODS = [pod(), pod(spec={'hostNetwork': True}, ports=[{'containerPort': 80}]), pod(spec={'hostPID': True, 'hostIPC': True}), pod(securityContext={'privileged': True}), pod(ports=[{'containerPort': 1, 'hostPort': 2}]), pod(spec={'volumes': [{'name': 'v', 'hostPath': {'path': '/'}}]}), pod(securityContext={'capabilities': {'add': ['NET_ADMIN', 'SYS_TIME']}}), pod(securityContext={'procMount': 'Unmasked'}, spec={'hostUsers': False}), pod(spec={'securityContext': {'sysctls': [{'name': 'kernel.msgmax', 'value': '1'}]}}), pod(spec={'securityContext': {'seccompProfile': {'type': 'Unconfined'}}}), pod(spec={'securityContext': {'seLinuxOptions': {'type': 'x', 'user': 'y'}}}), pod(securityContext={'runAsUser': 0}), pod(spec={'securityContext': {'runAsNonRoot': True, 'seccompProfile': {'type': 'RuntimeDefault'}}}, securityContext={'allowPrivilegeEscalation': False, 'capabilities': {'drop': ['ALL']}}), pod(spec={'volumes': [{'name': 'v', 'nfs': {'server': 'h', 'path': '/'}}]}), O('Pod', 'p', spec={'initContainers': [dict(CTR, name='i', securityContext={'privileged': True})], 'containers': [dict(CTR, name='a', securityContext={'privileged': True}), dict(CTR, name='b')]}), pod(spec={'securityContext': {'windowsOptions': {'hostProcess': True}}, 'hostNetwork': True}), pod(meta={'annotations': {'container.apparmor.security.beta.kubernetes.io/c': 'unconfined'}}), pod(livenessProbe={'httpGet': {'port': 1, 'host': '1.2.3.4'}})]
pss('enforce-baseline', {'enforce': 'baseline'}, *BADPODS, wl=[O('Deployment', 'd', spec={'selector': SEL, 'template': tmpl(securityContext={'privileged': True})})])
pss('enforce-restricted', {'enforce': 'restricted'}, *BADPODS)
pss('enforce-version', {'enforce': 'restricted', 'enforce-version': 'v1.20'}, *BADPODS[:3])
pss('warn-restricted', {'warn': 'restricted', 'enforce': 'privileged'}, *BADPODS[:5], wl=[O('Deployment', 'd', spec={'selector': SEL, 'template': tmpl(securityContext={'privileged': True})}), O('Job', 'j', spec={'template': JT}), O('CronJob', 'j', spec={'schedule': '* * * * *', 'jobTemplate': {'spec': {'template': JT}}})])
pss('audit', {'audit': 'restricted'}, *BADPODS[:2]); pss('all', {'enforce': 'baseline', 'warn': 'restricted', 'audit': 'restricted', 'warn-version': 'latest'}, *BADPODS[:4])
own('podsecurity-ns-update', POST(P('Pod'), pod('a', {'hostPID': True}), rec=False), POST(P('Pod'), pod('b', securityContext={'privileged': True}), rec=False), POST(P('Pod'), pod('c', securityContext={'privileged': True}), rec=False), PATCH('/api/v1/namespaces/$NS', {'metadata': {'labels': {'pod-security.kubernetes.io/enforce': 'baseline'}}}, MP, proj=lambda b: b.get('kind')), PATCH('/api/v1/namespaces/$NS', {'metadata': {'labels': {'pod-security.kubernetes.io/enforce': 'bad'}}}, MP), POST(P('Pod'), pod('z', {'hostPID': True})), PATCH(P('Pod', 'a'), {'metadata': {'labels': {'q': 'r'}}}, MP, proj=lambda b: b.get('kind')))
case(AD, 'priority', POST(P('PriorityClass'), O('PriorityClass', 'kg-prio', value=1000, preemptionPolicy='Never'), rec=False), POST(P('PriorityClass'), O('PriorityClass', 'kg-def', value=5, globalDefault=True), rec=False), SLEEP(0.3), POST(P('Pod', ns='default') + '?dryRun=All', pod(spec={'priorityClassName': 'kg-prio'}), proj=lambda b: [b['spec'].get(k) for k in ('priority', 'preemptionPolicy', 'priorityClassName')]), POST(P('Pod', ns='default') + '?dryRun=All', pod(), proj=lambda b: [b['spec'].get(k) for k in ('priority', 'preemptionPolicy', 'priorityClassName')]), POST(P('Pod', ns='default') + '?dryRun=All', pod(spec={'priorityClassName': 'kg-prio', 'priority': 7})), POST(P('Pod', ns='default') + '?dryRun=All', pod(spec={'priorityClassName': 'kg-prio', 'preemptionPolicy': 'PreemptLowerPriority'})), POST(P('PriorityClass'), O('PriorityClass', 'kg-def2', value=5, globalDefault=True)), DEL(P('PriorityClass', 'system-node-critical') + '?dryRun=All', proj=lambda b: b.get('kind') if b.get('kind') != 'Status' else b), ns=None)
own('serviceaccount', POST(P('ServiceAccount'), O('ServiceAccount', 'noauto', automountServiceAccountToken=False, imagePullSecrets=[{'name': 'ips'}]), rec=False), SLEEP(0.3), POST(P('Pod'), pod('a', {'serviceAccountName': 'noauto'})), POST(P('Pod'), pod('b', {'serviceAccountName': 'noauto', 'automountServiceAccountToken': True}), proj=lambda b: [b['spec'].get('imagePullSecrets'), b['spec']['volumes'], b['spec']['containers'][0]['volumeMounts']]), POST(P('Pod'), pod('d', volumeMounts=[{'name': 'v', 'mountPath': '/var/run/secrets/kubernetes.io/serviceaccount'}], spec={'volumes': [{'name': 'v', 'emptyDir': {}}]})), POST(P('Pod'), O('Pod', 'e', spec={'initContainers': [dict(CTR, name='i')], 'containers': [CTR]}), proj=lambda b: b['spec'].get('initContainers') if 'spec' in b else b), POST(P('Pod'), O('Pod', 'm', {'annotations': {'kubernetes.io/config.mirror': 'x'}}, spec={'containers': [CTR], 'nodeName': 'n'})), POST(P('Pod'), pod('f', {'serviceAccount': 'noauto'}), proj=lambda b: [b['spec'].get('serviceAccountName'), b['spec'].get('serviceAccount')] if 'spec' in b else b))
case(AD, 'runtimeclass', POST(P('RuntimeClass'), O('RuntimeClass', 'kg-rta', handler='h', overhead={'podFixed': {'cpu': '250m'}}, scheduling={'nodeSelector': {'a': 'b'}, 'tolerations': [{'key': 'a', 'operator': 'Exists'}]}), rec=False), SLEEP(0.3), POST(P('Pod', ns='default') + '?dryRun=All', pod(spec={'runtimeClassName': 'kg-rta'}), proj=lambda b: [b['spec'].get(k) for k in ('overhead', 'nodeSelector', 'tolerations', 'runtimeClassName')]), POST(P('Pod', ns='default') + '?dryRun=All', pod(spec={'runtimeClassName': 'kg-rta', 'nodeSelector': {'a': 'c'}})), POST(P('Pod', ns='default') + '?dryRun=All', pod(spec={'runtimeClassName': 'kg-rta', 'overhead': {'cpu': '1'}})), ns=None)
case(AD, 'storageclass-default', POST(P('StorageClass'), O('StorageClass', 'kg-dsc', {'annotations': {'storageclass.kubernetes.io/is-default-class': 'true'}}, provisioner='p.example.com'), rec=False), SLEEP(0.3), POST(P('PersistentVolumeClaim', ns='default') + '?dryRun=All', PC, proj=lambda b: b['spec']), POST(P('PersistentVolumeClaim', ns='default') + '?dryRun=All', setp(PC, 'spec.storageClassName', ''), proj=lambda b: b['spec']), POST(P('IngressClass'), O('IngressClass', 'kg-dic', {'annotations': {'ingressclass.kubernetes.io/is-default-class': 'true'}}, spec={'controller': 'x.example.com/y'}), rec=False), SLEEP(0.3), POST(P('Ingress', ns='default') + '?dryRun=All', IG, proj=lambda b: b['spec'].get('ingressClassName')), ns=None)
own('taint-tolerations', POST(P('Node'), O('Node', 'kg-tn'), proj=lambda b: b['spec']), POST(P('Pod'), pod('b', {'tolerations': [{'key': 'node.kubernetes.io/not-ready', 'operator': 'Exists'}]}), proj=lambda b: b['spec']['tolerations']), POST(P('Pod'), rpod('m', {'memory': '1Mi'}), proj=lambda b: [b['spec']['tolerations'], b['status']['qosClass']]))
case(AD, 'ownerrefs-blocking', POST(P('ConfigMap'), cm('c', {}, {'ownerReferences': [dict(OW('x'), blockOwnerDeletion=True)]})), POST(P('ConfigMap'), cm('d', {}, {'ownerReferences': [OW('x'), OW('x')]})), POST(P('ConfigMap'), cm('e', {}, {'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'uid': 'u'}]})))
def vap(n, **s): return O('ValidatingAdmissionPolicy', n, spec=dict({'matchConstraints': {'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': '$NS'}}, 'resourceRules': [{'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE', 'UPDATE', 'DELETE'], 'resources': ['configmaps']}]}}, **s))
def vapb(n, p, acts=('Deny',), **s): return O('ValidatingAdmissionPolicyBinding', n, spec=dict({'policyName': p, 'validationActions': list(acts)}, **s))
BOOM = POST(P('ConfigMap') + '?dryRun=All', cm('probe', {'probe': 'x'}))
def vcase(cid, spec, acts, *steps, bind=None, pre=()):
    n = 'kg-vap-' + cid
    # a probe object is refused by a first validation, which tells when the policy is active
    spec = dict(spec, validations=spec['validations'] + [{'expression': "!has(object.data) || !('probe' in object.data)", 'message': 'probe'}])
    probe = WAITP('ConfigMap', cm('probe', {'probe': 'x'}), lambda r: 'probe' in (r.json or {}).get('message', '') or any('probe' in x for k, x in r.headers if k.lower() == 'warning') or cid == 'audit')
    case(AD, 'vap-' + cid, *pre, POST(P('ValidatingAdmissionPolicy'), vap(n, **spec), rec=False), POST(P('ValidatingAdmissionPolicyBinding'), vapb(n + '-b', n, acts, **(bind or {})), rec=False), probe, *steps, ns='own')
def WAITP(kind, o, pred, secs=10):
    def f(ctx):
        t0 = time.time()
        while time.time() - t0 < secs:
            r = ctx.cli.do('POST', ctx.sub(P(kind) + '?dryRun=All'), ctx.sub(json.dumps(o)).encode(), {'Content-Type': JSONCT})
            if pred(r): time.sleep(0.1); return
            time.sleep(0.1)
    return DO(f)
EX = [{'expression': "!has(object.data) || !('bad' in object.data)"}]
vcase('deny', {'validations': EX}, ['Deny'], POST(P('ConfigMap'), cm('c', {'bad': '1'})), POST(P('ConfigMap'), cm('c', {'ok': '1'})), PATCH(P('ConfigMap', 'c'), {'data': {'bad': '1'}}, MP), POST(P('Secret') + '?dryRun=All', O('Secret', 's'), proj=lambda b: b.get('kind')))
vcase('message', {'validations': [{'expression': EX[0]['expression'], 'message': 'no bad key', 'reason': 'Forbidden'}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'bad': '1'})))
vcase('messageexpr', {'validations': [{'expression': EX[0]['expression'], 'message': 'fallback', 'messageExpression': "'bad in ' + object.metadata.name", 'reason': 'RequestEntityTooLarge'}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'bad': '1'})))
vcase('warn', {'validations': EX}, ['Warn'], POST(P('ConfigMap'), cm('c', {'bad': '1'})))
vcase('audit', {'validations': EX, 'auditAnnotations': [{'key': 'k', 'valueExpression': "'v'"}]}, ['Audit'], SLEEP(1), POST(P('ConfigMap'), cm('c', {'bad': '1'})))
vcase('matchcond', {'validations': EX, 'matchConditions': [{'name': 'skip', 'expression': "!object.metadata.name.startsWith('skip')"}]}, ['Deny'], POST(P('ConfigMap'), cm('skip-c', {'bad': '1'}), proj=lambda b: b.get('kind')), POST(P('ConfigMap'), cm('c', {'bad': '1'})))
vcase('variables', {'validations': [{'expression': 'variables.n < 3', 'messageExpression': "'n is ' + string(variables.n)"}], 'variables': [{'name': 'n', 'expression': 'has(object.data) ? size(object.data) : 0'}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'a': '1', 'b': '2', 'c': '3'})))
vcase('runtime-error', {'validations': [{'expression': "!has(object.data) || ('probe' in object.data) || object.data['zz'] == 'x'"}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'a': '1'})))
vcase('runtime-ignore', {'failurePolicy': 'Ignore', 'validations': [{'expression': "!has(object.data) || ('probe' in object.data) || object.data['zz'] == 'x'"}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'a': '1'}), proj=lambda b: b.get('kind')))
vcase('params', {'paramKind': {'apiVersion': 'v1', 'kind': 'ConfigMap'}, 'validations': [{'expression': "!has(object.data) || !('v' in object.data) || object.data.v == params.data.want", 'messageExpression': "'want ' + params.data.want"}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'v': 'no'})), POST(P('ConfigMap'), cm('c', {'v': 'yes'}), proj=lambda b: b.get('kind')), pre=[POST(P('ConfigMap'), cm('param', {'want': 'yes'}), rec=False)], bind={'paramRef': {'name': 'param', 'namespace': '$NS', 'parameterNotFoundAction': 'Deny'}})
vcase('two', {'validations': EX + [{'expression': "!has(object.data) || !('bad' in object.data) || object.data.bad != '1'", 'message': 'second'}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'bad': '1'})))
vcase('delete', {'validations': [{'expression': "request.operation != 'DELETE'", 'message': 'no delete'}]}, ['Deny'], POST(P('ConfigMap'), cm('c'), rec=False), DEL(P('ConfigMap', 'c')), DEL(P('ConfigMap') + '?labelSelector=x%3Dy', proj=names))
vcase('authorizer', {'validations': [{'expression': "!has(object.data) || !('z' in object.data) || authorizer.group('').resource('pods').namespace('default').check('create').allowed()", 'message': 'authz'}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'z': '1'}), proj=lambda b: b.get('kind')))
vcase('namespaceobject', {'validations': [{'expression': "namespaceObject.metadata.name != 'x' && request.userInfo.username == 'admin' && oldObject == null"}]}, ['Deny'], POST(P('ConfigMap'), cm('c', {'z': '1'}), proj=lambda b: b.get('kind')), PATCH(P('ConfigMap', 'c'), {'data': {'y': '1'}}, MP))
def mpol(n, *muts, **s): return O('MutatingAdmissionPolicy', n, spec=dict({'matchConstraints': {'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': '$NS'}}, 'resourceRules': [{'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['configmaps', 'pods']}]}, 'reinvocationPolicy': 'Never', 'mutations': list(muts)}, **s))
AC = lambda e: {'patchType': 'ApplyConfiguration', 'applyConfiguration': {'expression': e}}
JPM = lambda e: {'patchType': 'JSONPatch', 'jsonPatch': {'expression': e}}
def mcase(cid, muts, *steps, **s):
    n = 'kg-map-' + cid
    case(AD, 'map-' + cid, POST(P('MutatingAdmissionPolicy'), mpol(n, *muts, **s), rec=False), POST(P('MutatingAdmissionPolicyBinding'), O('MutatingAdmissionPolicyBinding', n + '-b', spec={'policyName': n}), rec=False), WAITP('ConfigMap', cm('probe'), lambda r: (r.json or {}).get('kind') == 'Status' or 'mut' in ((r.json or {}).get('metadata', {}).get('labels') or {}), 6), *steps, ns='own')
mcase('apply', [AC('Object{metadata: Object.metadata{labels: {"mut": "yes"}}}')], POST(P('ConfigMap'), cm('c')), POST(P('Pod'), pod(), proj=lambda b: b['metadata'].get('labels')))
mcase('jsonpatch', [JPM('[JSONPatch{op: "add", path: "/metadata/labels", value: {"mut": "jp"}}, JSONPatch{op: "replace", path: "/data/k", value: "changed"}]')], POST(P('ConfigMap'), cm('c')))
mcase('jsonpatch-fail', [AC('Object{metadata: Object.metadata{labels: {"mut": "yes"}}}'), JPM('[JSONPatch{op: "test", path: "/data/zz", value: "q"}]')], POST(P('ConfigMap'), cm('c')))
mcase('sidecar', [AC('Object{metadata: Object.metadata{labels: {"mut": "yes"}}}')], POST(P('ConfigMap'), cm('skip')), POST(P('ConfigMap'), cm('d', {}, {'labels': {'mut': 'orig', 'o': '1'}})), matchConditions=[{'name': 'm', 'expression': "object.metadata.name != 'skip'"}])
mcase('pod-container', [AC('Object{metadata: Object.metadata{labels: {"mut": "yes"}}}'), AC("object.kind == 'Pod' ? Object{spec: Object.spec{}} : Object{}")], POST(P('ConfigMap'), cm('c'), proj=lambda b: b if b.get('kind') == 'Status' else b['metadata'].get('labels')))
mcase('runtime-error', [AC('Object{metadata: Object.metadata{labels: {"mut": object.data["nokey"]}}}')], POST(P('ConfigMap'), cm('c')))

# webhooks that cannot be reached
def whcase(cid, k, **w):
    wh = dict(WHK, rules=[{'apiGroups': [''], 'apiVersions': ['v1'], 'resources': ['configmaps'], 'operations': ['CREATE']}], namespaceSelector={'matchLabels': {'kubernetes.io/metadata.name': '$NS'}}, **w)
    case(AD, 'webhook-' + cid, POST(P(k), O(k, 'kg-wh-' + cid, webhooks=[wh]), rec=False), WAITP('ConfigMap', cm('probe'), lambda r: r.status != 201 or cid == 'ignore', 6), SLEEP(0.5), POST(P('ConfigMap') + '?dryRun=All', cm('c'), proj=lambda b: b if b.get('kind') == 'Status' else b['kind']), POST(P('ConfigMap'), cm('c'), proj=lambda b: b if b.get('kind') == 'Status' else b['kind']), ns='own')
whcase('noservice', 'ValidatingWebhookConfiguration'); whcase('noservice-mut', 'MutatingWebhookConfiguration'); whcase('ignore', 'ValidatingWebhookConfiguration', failurePolicy='Ignore')

# ---------------------------------------------------------------- group: auth
AU = 'auth'
def jwtparts(c, r):
    t = (r.json or {}).get('status', {}).get('token', ''); c.saved['tok'] = t
def jwtproj(b):
    t = (b.get('status') or {}).get('token', '')
    if t.count('.') != 2: return b
    d = lambda x: json.loads(base64.urlsafe_b64decode(x + '=' * (-len(x) % 4)))
    h, p = d(t.split('.')[0]), d(t.split('.')[1])
    h['kid'] = '<%s>' % type(h.get('kid')).__name__
    p['$lifetime'] = p['exp'] - p['iat'] if 'iat' in p else None
    if isinstance(p.get('kubernetes.io', {}).get('warnafter'), int): p['$warnafter'] = p['kubernetes.io']['warnafter'] - p['iat']; p['kubernetes.io']['warnafter'] = '<secs>'
    for k in ('exp', 'iat', 'nbf'):
        if k in p: p[k] = '<secs>'
    return {'header': h, 'payload': p, 'object': {k: x for k, x in b.items() if k != 'status'}, 'status': sorted(b['status'])}
TOKP = lambda sa: P('ServiceAccount', sa, 'token')
TR = lambda **s: {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenRequest', 'spec': s}
MKSA = POST(P('ServiceAccount'), O('ServiceAccount', 'u'), rec=False)
MKTOK = POST(P('ServiceAccount', 'u', 'token'), TR(expirationSeconds=600), rec=False, save=jwtparts)
def acase(cid, *st, **k): case(AU, cid, *st, ns='own', **k)
acase('token-request', MKSA, POST(TOKP('u'), TR(), proj=jwtproj), POST(TOKP('u'), TR(expirationSeconds=600, audiences=['a', 'b']), proj=jwtproj), POST(TOKP('u'), TR(expirationSeconds=3607), proj=jwtproj), POST(TOKP('u'), TR(expirationSeconds=5)), POST(TOKP('u'), TR(expirationSeconds=1 << 33)), POST(TOKP('zz'), TR()), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'nope'})), POST(TOKP('u'), TR(boundObjectRef={'kind': 'X', 'apiVersion': 'v1', 'name': 'nope'})), POST(TOKP('u'), {}), POST(TOKP('u'), dict(TR(), metadata={'name': 'other'})), POST(TOKP('u') + '?dryRun=All', TR(), proj=lambda b: [b.get('kind'), bool((b.get('status') or {}).get('token'))]))
acase('token-bound', MKSA, POST(P('Pod'), pod(spec={'serviceAccountName': 'u', 'nodeName': 'kg-bn'}), rec=False), POST(P('Secret'), O('Secret', 's'), rec=False), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'p'}), proj=jwtproj), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Secret', 'apiVersion': 'v1', 'name': 's'}), proj=jwtproj), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'p', 'uid': '00000000-0000-0000-0000-000000000001'})), POST(TOKP('default'), TR(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'p'})), POST(P('Node'), O('Node', 'kg-bn'), rec=False), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Node', 'apiVersion': 'v1', 'name': 'kg-bn'}), proj=jwtproj), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'p'}), proj=jwtproj))
U = '${tok}'
acase('forbidden', MKSA, MKTOK, *[GET(p, tok=U) for p in (P('Pod'), P('Pod', 'x'), '/api/v1/pods', '/api/v1/nodes', '/api/v1/nodes/x', P('Deployment'), P('Pod', 'x', 'log'), '/metrics', '/apis/kg-none.example.com/v1/x', '/healthz', '/apis/rbac.authorization.k8s.io/v1/clusterroles', P('ConfigMap') + '?watch=true', '/api/v1/namespaces', '/api/v1/namespaces/$NS', '/logs', '/apis/nope', '/api/v1/namespaces/$NS/nopes')], GET('/version', tok=U, proj=lambda b: type(b).__name__), GET('/api', tok=U, proj=lambda b: b.get('kind')), GET('/openapi/v2', tok=U, proj=lambda b: b.get('swagger')), GET('/', tok=U, proj=lambda b: b if b.get('kind') == 'Status' else 'paths'), POST(P('Pod'), pod(), tok=U), POST(P('ConfigMap'), O('ConfigMap', None, {'generateName': 'x-'}), tok=U), PUT(P('ConfigMap', 'c'), cm('c'), tok=U), PATCH(P('ConfigMap', 'c'), {}, MP, tok=U), DEL(P('ConfigMap', 'c'), tok=U), DEL(P('ConfigMap'), tok=U), POST(P('Deployment'), O('Deployment', 'd', spec=RS), tok=U), PUT(P('Deployment', 'd', 'scale'), {}, tok=U), POST(P('Role'), O('Role', 'r', rules=RU), tok=U), POST(TOKP('u'), TR(), tok=U), POST('/apis/authorization.k8s.io/v1/subjectaccessreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': {'user': 'x'}}, tok=U))
acase('rbac-allow', MKSA, MKTOK, POST(P('Role'), O('Role', 'r', rules=[{'apiGroups': [''], 'resources': ['configmaps'], 'verbs': ['get', 'list', 'create']}, {'apiGroups': [''], 'resources': ['secrets'], 'resourceNames': ['only'], 'verbs': ['get', 'update']}, {'apiGroups': ['apps'], 'resources': ['*/scale'], 'verbs': ['*']}]), rec=False), POST(P('RoleBinding'), O('RoleBinding', 'r', roleRef={'kind': 'Role', 'name': 'r', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[{'kind': 'ServiceAccount', 'name': 'u', 'namespace': '$NS'}]), rec=False), SLEEP(0.5), GET(P('ConfigMap'), tok=U, proj=lambda b: b.get('kind')), POST(P('ConfigMap'), cm('c'), tok=U), PUT(P('ConfigMap', 'c'), cm('c'), tok=U), GET(P('Secret', 'only'), tok=U), GET(P('Secret', 'other'), tok=U), GET(P('Secret'), tok=U), GET(P('Secret') + '?fieldSelector=metadata.name%3Donly', tok=U), GET(P('Deployment', 'd', 'scale'), tok=U), GET(P('Deployment', 'd'), tok=U), GET('/api/v1/namespaces/default/configmaps', tok=U),
      POST('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectAccessReview', 'spec': {'resourceAttributes': {'namespace': '$NS', 'verb': 'get', 'resource': 'configmaps'}}}, tok=U), POST('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectAccessReview', 'spec': {'resourceAttributes': {'namespace': '$NS', 'verb': 'delete', 'resource': 'configmaps'}}}, tok=U), POST('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectRulesReview', 'spec': {'namespace': '$NS'}}, tok=U))
acase('rbac-escalate', MKSA, MKTOK, POST(P('Role'), O('Role', 'mgr', rules=[{'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['roles', 'rolebindings'], 'verbs': ['*']}]), rec=False), POST(P('RoleBinding'), O('RoleBinding', 'mgr', roleRef={'kind': 'Role', 'name': 'mgr', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[{'kind': 'ServiceAccount', 'name': 'u', 'namespace': '$NS'}]), rec=False), SLEEP(0.5), POST(P('Role'), O('Role', 'esc', rules=RU), tok=U), POST(P('Role'), O('Role', 'same', rules=[{'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['roles'], 'verbs': ['get']}]), tok=U, proj=lambda b: b.get('kind')), POST(P('RoleBinding'), O('RoleBinding', 'esc', roleRef={'kind': 'ClusterRole', 'name': 'view', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[]), tok=U, proj=lambda b: [b.get('code'), b.get('message', '')[:120]]), POST(P('RoleBinding'), O('RoleBinding', 'esc', roleRef={'kind': 'Role', 'name': 'nope', 'apiGroup': 'rbac.authorization.k8s.io'}, subjects=[]), tok=U))
SAR = lambda **s: {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': s}
RA = lambda **r: dict({'verb': 'get', 'resource': 'pods', 'namespace': 'default'}, **r)
case(AU, 'sar', *[POST(P('SubjectAccessReview'), SAR(**s)) for s in (dict(user='u', resourceAttributes=RA()), dict(user='admin', groups=['system:masters'], resourceAttributes=RA()), dict(user='u', groups=['system:authenticated'], nonResourceAttributes={'path': '/openapi/v3', 'verb': 'get'}), dict(user='system:kube-scheduler', resourceAttributes=RA(verb='list', namespace='')), dict(user='u', resourceAttributes=RA(verb='*', resource='*', group='*')), dict(user='system:node:x', groups=['system:nodes'], resourceAttributes=RA()), dict(user='system:node:x', groups=['system:nodes'], resourceAttributes=RA(resource='secrets', name='s')), dict(user='u', extra={'k': ['v']}, uid='1', resourceAttributes=RA(subresource='log', name='x')), dict(user='u', resourceAttributes=RA(labelSelector={'requirements': [{'key': 'a', 'operator': 'In', 'values': ['b']}]}, fieldSelector={'rawSelector': 'a=b'})))], POST(P('SelfSubjectAccessReview'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectAccessReview', 'spec': {'resourceAttributes': RA()}}), POST(P('SelfSubjectAccessReview'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectAccessReview', 'spec': {'nonResourceAttributes': {'path': '/x', 'verb': 'get'}}}), POST(P('SelfSubjectAccessReview'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectAccessReview', 'spec': {}}), POST(P('SelfSubjectRulesReview'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectRulesReview', 'spec': {'namespace': 'default'}}), POST(P('SelfSubjectRulesReview'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectRulesReview', 'spec': {}}), POST(P('LocalSubjectAccessReview', ns='default'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'LocalSubjectAccessReview', 'spec': {'user': 'u', 'resourceAttributes': RA()}}), POST(P('LocalSubjectAccessReview', ns='default'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'LocalSubjectAccessReview', 'metadata': {'namespace': 'default'}, 'spec': {'user': 'u', 'resourceAttributes': RA(namespace='other')}}), POST(P('LocalSubjectAccessReview', ns='default'), {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'LocalSubjectAccessReview', 'metadata': {'namespace': 'default'}, 'spec': {'user': 'u', 'resourceAttributes': RA()}}), ns=None)
SSR = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}
TRV = lambda t, **s: {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': dict({'token': t}, **s)}
acase('selfsubjectreview', MKSA, MKTOK, POST(P('SelfSubjectReview'), SSR), POST(P('SelfSubjectReview'), SSR, tok=U), POST(P('SelfSubjectReview'), SSR, tok=''), POST(P('SelfSubjectReview') + '?dryRun=All', SSR, proj=lambda b: b.get('kind')), POST(P('SelfSubjectReview'), {}))
acase('tokenreview', MKSA, MKTOK, POST(P('TokenReview'), lambda c: TRV(c.saved['tok'])), POST(P('TokenReview'), lambda c: TRV(c.saved['tok'], audiences=['zz'])), POST(P('TokenReview'), lambda c: TRV(c.saved['tok'], audiences=['https://kubernetes.default.svc.cluster.local', 'b'])), POST(P('TokenReview'), TRV('garbage')), POST(P('TokenReview'), lambda c: TRV(c.saved['tok'][:-4] + 'AAAA')), POST(TOKP('u'), TR(audiences=['zz']), rec=False, save=jwtparts), GET('/api', tok=U), POST(P('TokenReview'), lambda c: TRV(c.saved['tok'], audiences=['zz'])), POST(TOKP('u'), TR(), rec=False, save=jwtparts), DEL(P('ServiceAccount', 'u'), rec=False), SLEEP(0.2), POST(P('TokenReview'), lambda c: TRV(c.saved['tok'])), GET('/api', tok=U))
acase('token-pod-deleted', MKSA, POST(P('Pod'), pod(spec={'serviceAccountName': 'u'}), rec=False), POST(TOKP('u'), TR(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'p'}), rec=False, save=jwtparts), POST(P('SelfSubjectReview'), SSR, tok=U), DEL(P('Pod', 'p'), rec=False), POST(P('TokenReview'), lambda c: TRV(c.saved['tok'])))
case(AU, 'anonymous', *[GET(p, tok='') for p in ('/api', '/api/v1/pods', '/version', '/healthz', '/livez', '/readyz', '/metrics', '/apis', '/openapi/v3', '/', '/api/v1/namespaces/default')][:2], GET('/version', tok='', proj=lambda b: type(b).__name__), *[GET(p, tok='') for p in ('/healthz', '/livez', '/readyz', '/metrics', '/apis', '/openapi/v3', '/', '/api/v1/namespaces/default', '/nope', '/.well-known/openid-configuration')], GET('/api', tok='wrong'), GET('/healthz', tok='wrong'), GET('/api', tok=None, h={'Authorization': 'Basic YTpi'}), GET('/api', tok=None, h={'Authorization': 'Bearer'}), GET('/api', tok=None, h={'Authorization': 'bearer nope'}), GET('/api/v1/pods?watch=true', tok=''), POST('/api/v1/namespaces/default/pods', pod(), tok=''), ns=None)
IMP = lambda **h: {k.replace('_', '-'): x for k, x in h.items()}
case(AU, 'impersonation', *[POST(P('SelfSubjectReview'), SSR, h=h) for h in ({'Impersonate-User': 'jane'}, {'Impersonate-User': 'jane', 'Impersonate-Group': 'dev'}, {'Impersonate-User': 'jane', 'Impersonate-Extra-Scopes': 'a', 'Impersonate-Uid': '5'}, {'Impersonate-User': 'system:serviceaccount:default:x'}, {'Impersonate-User': 'system:anonymous'}, {'Impersonate-Group': 'dev'}, {'Impersonate-User': 'system:serviceaccount:A_:x'}, {'Impersonate-User': 'jane', 'Impersonate-Extra-acme.com%2Fproject': 'p'}, {'Impersonate-Uid': '5'}, {'Impersonate-User': 'jane', 'Impersonate-Group': ['a', 'b', 'system:authenticated']}, {'Impersonate-User': ''})], GET('/api/v1/pods', h={'Impersonate-User': 'jane'}), GET('/api/v1/pods', h={'Impersonate-User': 'jane', 'Impersonate-Group': 'system:masters'}, proj=lambda b: b.get('kind')), GET('/api/v1/nodes', h={'Impersonate-User': 'system:serviceaccount:default:x'}), ns=None)
acase('impersonation-forbidden', MKSA, MKTOK, *[GET('/api', tok=U, h=h, proj=lambda b: b) for h in ({'Impersonate-User': 'jane'}, {'Impersonate-User': 'system:serviceaccount:default:x'}, {'Impersonate-User': 'jane', 'Impersonate-Group': 'g'}, {'Impersonate-User': 'system:node:x'})])
def csr(n, signer='kubernetes.io/kube-apiserver-client', us=('client auth',), **s): return O('CertificateSigningRequest', n, spec=dict({'request': CSR64, 'signerName': signer, 'usages': list(us)}, **s))
def cond(t, st='True', **k): return lambda c: setp(c.last, 'status', {'conditions': [dict({'type': t, 'status': st, 'reason': 'R', 'message': 'm'}, **k)]})
ap = lambda n: P('CertificateSigningRequest', n, 'approval')
CSRP = P('CertificateSigningRequest')
case(AU, 'csr-approve', POST(CSRP, csr('kg-csra')), PUT(ap('kg-csra'), cond('Approved')), WAIT(CSRP + '/kg-csra', lambda r: r.json['status'].get('certificate'), 10, rec=True, proj=lambda b: {'type': [c['type'] for c in b['status']['conditions']], 'cert': bool(b['status'].get('certificate'))}), GET(CSRP + '/kg-csra', acc=TABLE_ONLY), GET(CSRP + '/kg-csra', rec=False), PUT(ap('kg-csra'), cond('Denied')), ns=None)
case(AU, 'csr-deny', POST(CSRP, csr('kg-csrd'), rec=False), PUT(ap('kg-csrd'), cond('Denied')), GET(CSRP + '/kg-csrd', acc=TABLE_ONLY), PUT(ap('kg-csrd'), lambda c: setp(c.r[-2].json, 'status', {})), GET(CSRP + '/kg-csrd', rec=False), PUT(ap('kg-csrd'), cond('Approved')), ns=None)
case(AU, 'csr-misc', POST(CSRP, csr('kg-csrm', 'kg.example.com/x'), rec=False), PUT(ap('kg-csrm'), cond('Approved', 'False')), GET(CSRP + '/kg-csrm', rec=False), PUT(ap('kg-csrm'), cond('Nope')), GET(CSRP + '/kg-csrm', rec=False), PUT(P('CertificateSigningRequest', 'kg-csrm', 'status'), lambda c: setp(c.last, 'status.certificate', B64)), GET(CSRP + '/kg-csrm', rec=False), PUT(CSRP + '/kg-csrm', lambda c: setp(c.last, 'status', {'conditions': [{'type': 'Approved', 'status': 'True'}]})), GET(ap('kg-csrm')), ns=None)
case(AU, 'csr-autofail', POST(CSRP, csr('kg-csrf', 'kubernetes.io/kube-apiserver-client', ('server auth',)), rec=False), PUT(ap('kg-csrf'), cond('Approved'), rec=False), WAIT(CSRP + '/kg-csrf', lambda r: any(c['type'] == 'Failed' for c in r.json['status'].get('conditions', [])), 10, rec=True, proj=lambda b: b['status']), ns=None)
case(AU, 'csr-masters', POST(CSRP, csr('kg-csrs', 'kubernetes.io/kube-apiserver-client-kubelet', ('client auth', 'digital signature')), rec=False), POST(CSRP + '?dryRun=All', csr('kg-csrk', 'kubernetes.io/kubelet-serving', ('server auth', 'digital signature')), proj=lambda b: b if b.get('kind') == 'Status' else b['spec'].get('username')), ns=None)
acase('legacy-token-secret', MKSA, POST(P('Secret'), O('Secret', 'tok', {'annotations': {'kubernetes.io/service-account.name': 'u'}}, type='kubernetes.io/service-account-token')), WAIT(P('Secret', 'tok'), lambda r: 'token' in r.json.get('data', {}), 10, rec=True, proj=lambda b: {'keys': sorted(b['data']), 'claims': sorted(json.loads(base64.urlsafe_b64decode(base64.b64decode(b['data']['token']).split(b'.')[1] + b'===')))}))

# ---------------------------------------------------------------- group: protobuf
PR = 'protobuf'
def prename(o, n): return setp(o, 'metadata.name', n)
def pbpost(p, dry=True):
    """POST the bytes of the last pbget back: the server refuses them because resourceVersion is set, or (dry run under
    another request) accepts bytes of a dry-run answer, which carry no resourceVersion"""
    return R('POST', p, lambda c: c.pb, ct=PB, acc=JSONCT)
def roundtrip(kind, o):
    """JSON POST with dryRun and a protobuf answer, then the answer's bytes as the body of a real POST, once answered in JSON, once in protobuf"""
    p = P(kind)
    def keep(c, r): c.pb = r.raw; c.vectors.append({'path': 'dry-run answer ' + c.sub(p), 'protobuf': base64.b64encode(r.raw).decode(), 'request': json.loads(c.sub(json.dumps(o)))})
    return [R('POST', p + '?dryRun=All', o, acc=PB, save=keep), R('POST', p, lambda c: c.pb, ct=PB, acc=PBL), R('POST', p, lambda c: c.pb, ct=PB, acc=JSONCT)]
PBK = [('Pod', pod('pb', {'tolerations': [{'key': 'a', 'operator': 'Exists', 'tolerationSeconds': 5, 'effect': 'NoExecute'}], 'volumes': [{'name': 'v', 'emptyDir': {'sizeLimit': '1Gi'}}, {'name': 's', 'secret': {'secretName': 'x', 'defaultMode': 256}}]}, {'labels': {'a': 'b', 'c': 'd'}}, ports=[{'containerPort': 80}], livenessProbe=PROBE, resources={'limits': {'cpu': '500m', 'memory': '64Mi'}}, env=[{'name': 'A', 'value': '1'}])),
 ('Service', O('Service', 'pb', spec={'ports': [{'port': 80, 'targetPort': 'http', 'name': 'a'}, {'port': 81, 'targetPort': 8081, 'name': 'b'}], 'selector': {'a': 'b'}})), ('ConfigMap', cm('pb', {'a': '1', 'b': ''}, binaryData={'z': B64})), ('Secret', O('Secret', 'pb', data={'k': B64})), ('Namespace', O('Namespace', 'kg-pb')), ('Node', O('Node', 'kg-pb', spec={'taints': [{'key': 'k', 'effect': 'NoExecute'}]}, status={'capacity': {'cpu': '2'}, 'conditions': [{'type': 'Ready', 'status': 'True', 'lastHeartbeatTime': '2020-01-01T00:00:00Z'}]})),
 ('Deployment', O('Deployment', 'pb', spec=RS)), ('StatefulSet', O('StatefulSet', 'pb', spec=dict(RS, volumeClaimTemplates=[{'metadata': {'name': 'v'}, 'spec': PVCS}]))), ('DaemonSet', O('DaemonSet', 'pb', spec=RS)), ('ReplicaSet', O('ReplicaSet', 'pb', spec=RS)), ('Job', O('Job', 'pb', spec={'template': JT})), ('CronJob', O('CronJob', 'pb', spec={'schedule': '* * * * *', 'jobTemplate': {'spec': {'template': JT}}})), ('PersistentVolumeClaim', O('PersistentVolumeClaim', 'pb', spec=PVCS)), ('PersistentVolume', O('PersistentVolume', 'kg-pb', spec=PVS)),
 ('Ingress', setp(IG, 'metadata.name', 'pb')), ('NetworkPolicy', O('NetworkPolicy', 'pb', spec={'podSelector': SEL, 'ingress': [{'ports': [{'port': 80}, {'port': 'x'}]}]})), ('HorizontalPodAutoscaler', O('HorizontalPodAutoscaler', 'pb', spec=HR)), ('PodDisruptionBudget', O('PodDisruptionBudget', 'pb', spec={'minAvailable': '50%', 'selector': SEL})), ('Role', O('Role', 'pb', rules=RU)), ('RoleBinding', setp(RBD, 'metadata.name', 'pb')), ('ClusterRole', O('ClusterRole', 'kg-pb', rules=RU)), ('ServiceAccount', O('ServiceAccount', 'pb')), ('Lease', O('Lease', 'pb', spec={'holderIdentity': 'h', 'renewTime': '2020-01-01T00:00:00.000001Z', 'leaseDurationSeconds': 5})), ('EndpointSlice', O('EndpointSlice', 'pb', addressType='IPv4', endpoints=[{'addresses': ['10.1.2.3'], 'conditions': {'ready': True}}], ports=[{'port': 80, 'name': 'x'}])), ('Endpoints', O('Endpoints', 'pb', subsets=[{'addresses': [{'ip': '10.1.2.3'}], 'ports': [{'port': 80}]}])),
 ('Event', O('Event', 'pb', involvedObject=INV, reason='R', count=1, firstTimestamp='2020-01-01T00:00:00Z')), ('ResourceQuota', O('ResourceQuota', 'pb', spec={'hard': {'count/kgnone.example.com': '5'}})), ('LimitRange', O('LimitRange', 'pb', spec={'limits': [{'type': 'Pod', 'max': {'memory': '1Ti'}}]})), ('PriorityClass', O('PriorityClass', 'kg-pb', value=-7)), ('StorageClass', O('StorageClass', 'kg-pb', provisioner='p.example.com', parameters={'a': 'b'})), ('ValidatingAdmissionPolicy', O('ValidatingAdmissionPolicy', 'kg-pb', spec=VAPS)), ('CertificateSigningRequest', csr('kg-pb', 'kg.example.com/x')), ('CSIDriver', O('CSIDriver', 'kg-pb.example.com', spec={})), ('FlowSchema', O('FlowSchema', 'kg-pb', spec={'priorityLevelConfiguration': {'name': 'workload-low'}})), ('ControllerRevision', O('ControllerRevision', 'pb', revision=1, data={'a': {'b': [1, 2]}})), ('ResourceClaim', setp(RC, 'metadata.name', 'pb')), ('RuntimeClass', O('RuntimeClass', 'kg-pb', handler='h', overhead={'podFixed': {'cpu': '1'}})), ('PodTemplate', O('PodTemplate', 'pb', template=tmpl())), ('ReplicationController', O('ReplicationController', 'pb', spec={'template': tmpl()})), ('IPAddress', O('IPAddress', '10.95.0.77', spec={'parentRef': {'resource': 'services', 'name': 's'}})), ('CustomResourceDefinition', crd('kgpbs', 'KgPb', OBJ(spec={'type': 'object', 'properties': {'a': {'type': 'string', 'default': 'x', 'enum': ['x']}}})))]
for k, o in PBK:
    settle = [WAIT(P(k, 'pb'), lambda r: r.json['status'].get('hard'), 15)] if k == 'ResourceQuota' else [est('kgpbs.kg.example.com'), SLEEP(0.3)] if k == 'CustomResourceDefinition' else [SLEEP(0.5)] if k == 'FlowSchema' else []
    case(PR, 'get-' + k.lower(), POST(P(k), o, rec=False), *settle, PBGET(P(k, o['metadata']['name'])), pbpost(P(k) + '?dryRun=All'))
    rt = sets(o, 'metadata.name', o['metadata']['name'].replace('pb', 'rt') if k != 'IPAddress' else '10.95.0.78')
    if k == 'CustomResourceDefinition': rt = crd('kgrts', 'KgRt')
    case(PR, 'roundtrip-' + k.lower(), roundtrip(k, rt))
case(PR, 'list', POST(CMS, cm('l1', {'a': '1'}, {'labels': {'pb': '1'}}), rec=False), POST(CMS, cm('l2', {}, {'labels': {'pb': '1'}}), rec=False), PBGET(CMS + '?labelSelector=pb%3D1'), GET(CMS + '?labelSelector=none', acc=PB), GET(P('Pod') + '?labelSelector=none', acc=PB), GET(CMS + '?limit=1&labelSelector=pb%3D1', acc=PB))
case(PR, 'watch', POST(CMS, cm('w1', {'a': '1'}, {'labels': {'pbw': '1'}}), rec=False), POST(CMS, cm('w2', {}, {'labels': {'pbw': '1'}}), rec=False), PBWATCH(CMS + '?watch=true&labelSelector=pbw%3D1&resourceVersion=0', 2))
case(PR, 'watch-bookmark', POST(CMS, cm('w1', {'a': '1'}, {'labels': {'pbw': '1'}}), rec=False), PBWATCH(CMS + '?watch=true&labelSelector=pbw%3D1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true', 2))
case(PR, 'watch-error', PBWATCH(CMS + '?watch=true&resourceVersion=1', 1))
case(PR, 'watch-pod', POST(P('Pod'), pod('w', meta={'labels': {'pbw': '1'}}), rec=False), PBWATCH(P('Pod') + '?watch=true&labelSelector=pbw%3D1&resourceVersion=0', 1), ns='own')
case(PR, 'status-errors', GET(P('ConfigMap', 'zz'), acc=PB), POST(CMS, 'garbage', ct=PB, acc=PB), GET(CMS + '?labelSelector=a+b', acc=PB), POST(P('Pod') + '?dryRun=All', pod(n0 := 'A_'), acc=PB), GET('/api/v1/nopes', acc=PB), POST(CMS, cm('x'), ct='application/vnd.kubernetes.protobuf', acc=PB))
case(PR, 'as-table', GET('/api/v1/namespaces/kube-system', acc='application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io'), GET('/api/v1/namespaces/kube-system', acc='application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json', proj=lambda b: b.get('kind')), ns=None)
case(PR, 'as-partial', POST(CMS, cm('pm', {'a': '1'}, {'labels': {'pbp': '1'}}), rec=False), GET(CMS + '/pm', acc='application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'), GET(CMS + '?labelSelector=pbp%3D1', acc='application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json'))
case(PR, 'scale', POST(P('Deployment'), O('Deployment', 'sc', spec=RS), rec=False), PBGET(P('Deployment', 'sc', 'scale')), R('PUT', P('Deployment', 'sc', 'scale'), lambda c: c.pb, ct=PB, acc=PB))
case(PR, 'delete', POST(CMS, cm('d'), rec=False), DEL(CMS + '/d', acc=PB), POST(P('Pod'), pod('d', {'nodeName': 'n'}), rec=False), DEL(P('Pod', 'd'), acc=PB), DEL(P('Pod', 'd') + '?gracePeriodSeconds=0', acc=PB, proj=lambda b: 'protobuf'))
case(PR, 'discovery', GET('/api', acc=PB), GET('/apis', acc=PB), GET('/api/v1', acc=PB, proj=lambda b: 'protobuf'), GET('/apis/batch/v1', acc=PB), GET('/version', acc=PB, proj=lambda b: type(b).__name__), ns=None)
case(PR, 'reviews', *[R('POST', p, b, acc=PB) for p, b in ((P('SelfSubjectReview'), SSR), (P('SubjectAccessReview'), SAR(user='u', resourceAttributes=RA())), (P('TokenReview'), TRV('garbage')))], ns=None)

# ---------------------------------------------------------------- main
def dump(path, o):
    with open(path, 'w') as f: json.dump(o, f, indent=1, sort_keys=True, ensure_ascii=False); f.write('\n')

def record(a):
    os.makedirs(a.out, exist_ok=True)
    cli = Client(a.base, a.token)
    Norm.base = '%s:%s' % (cli.host, cli.port) if cli.host else None
    groups = []
    for c in CASES:
        if c['group'] not in groups: groups.append(c['group'])
    seen = set()
    for c in CASES:
        assert (c['group'], c['id']) not in seen, c['id']; seen.add((c['group'], c['id']))
    if a.group: groups = [g for g in groups if g in a.group]
    if a.list:
        for g in groups: print(g, sum(1 for c in CASES if c['group'] == g))
        return
    todo = [c for c in CASES if c['group'] in groups and (not a.case or a.case in c['id'])]
    if a.like: # only the cases that DIR holds
        have = {(f[:-5], i) for f in os.listdir(a.like) if f.endswith('.json') for i in json.load(open(os.path.join(a.like, f)))['cases']}
        todo = [c for c in todo if (c['group'], c['id']) in have]
    for n in sorted({nsname(c) for c in todo} - {None}): # leftovers: delete all first, they vanish in parallel
        if cli.do('GET', '/api/v1/namespaces/' + n).status == 200: cli.do('DELETE', '/api/v1/namespaces/' + n)
    # custom resources of an earlier run must be gone from discovery and OpenAPI
    for i in (cli.do('GET', CRDP).json or {}).get('items') or []:
        if i['spec']['group'] == 'kg.example.com': remove(cli, CRDP + '/' + i['metadata']['name'])
    for path, acc in (('/apis', AGG), ('/openapi/v2', JSONCT), ('/openapi/v3', JSONCT)):
        for _ in range(80):
            if b'kg.example.com' not in cli.do('GET', path, headers={'Accept': acc}).raw: break
            time.sleep(0.2)
    allvec = {}
    for g in groups:
        cs = [c for c in todo if c['group'] == g]; t0 = time.time(); res = {}
        if not cs: continue
        sh = 'kg-' + g
        if any(c['ns'] == 'shared' for c in cs): ns_make(cli, sh)
        for c in cs:
            t1 = time.time()
            res[c['id']], vec = run_case(cli, c)
            if vec: allvec.setdefault(g, {})[c['id']] = vec
            if time.time() - t1 > 6: print('  slow', g, c['id'], '%.1fs' % (time.time() - t1), file=sys.stderr)
        if any(c['ns'] == 'shared' for c in cs): cli.do('DELETE', '/api/v1/namespaces/' + sh)
        fn = os.path.join(a.out, g + '.json')
        if a.case and os.path.exists(fn):
            old = json.load(open(fn)); old['cases'].update(res); res = old['cases']
        dump(fn, {'group': g, 'cases': res})
        print('%-14s %4d cases %5d steps %6.1f s' % (g, len(cs), sum(len(x) for x in res.values()), time.time() - t0), flush=True)
    if allvec:
        os.makedirs(os.path.join(a.out, 'vectors'), exist_ok=True)
        for g, v in allvec.items(): dump(os.path.join(a.out, 'vectors', g + '.json'), v)

def first_diff(x, y, p=''):
    if type(x) != type(y): return p, x, y
    if isinstance(x, dict):
        for k in sorted(set(x) | set(y)):
            if k not in x: return p + '.' + k, '<absent>', y[k]
            if k not in y: return p + '.' + k, x[k], '<absent>'
            d = first_diff(x[k], y[k], p + '.' + k)
            if d: return d
        return None
    if isinstance(x, list):
        for i in range(min(len(x), len(y))):
            d = first_diff(x[i], y[i], '%s[%d]' % (p, i))
            if d: return d
        if len(x) != len(y): return p + '.length', len(x), len(y)
        return None
    return None if x == y else (p, x, y)

def again(steps):
    n = Norm(json.dumps([s.get('request') for s in steps], ensure_ascii=False))
    return [{k: v if k == 'request' else n.val(v, k) for k, v in s.items()} for s in steps]

NUMBERED = re.compile(r'<(uid|rv|ip):(\d+)>')
def renumber(steps):
    """the placeholders of a case in the order of their names' paths: the order of members in an object is no difference"""
    seen = {}
    def name(m):
        return '<%s:%d>' % (m.group(1), seen.setdefault(m.group(0), sum(1 for k in seen if k.startswith('<' + m.group(1))) + 1))
    def walk(v):
        if isinstance(v, dict): return {k: walk(v[k]) for k in sorted(v)}
        if isinstance(v, list): return [walk(x) for x in v]
        return NUMBERED.sub(name, v) if isinstance(v, str) else v
    return walk(steps)

def diff(a):
    d1, d2 = a.diff; bad = 0; tot = 0
    def sh(v):
        t = json.dumps(v, sort_keys=True, ensure_ascii=False); return t if len(t) < 300 else t[:300] + '...'
    for fn in sorted(f for f in os.listdir(d1) if f.endswith('.json')):
        g = fn[:-5]
        if a.group and g not in a.group: continue
        if not os.path.exists(os.path.join(d2, fn)): print('%-14s missing in second' % g); bad += 1; continue
        x, y = json.load(open(os.path.join(d1, fn)))['cases'], json.load(open(os.path.join(d2, fn)))['cases']
        ids = [i for i in x if not a.case or a.case in i]
        diffs = []
        for i in ids:
            if i not in y: diffs.append((i, ('', 'recorded', 'missing'))); continue
            if a.again: x[i], y[i] = again(x[i]), again(y[i])
            if isinstance(x[i], list) and isinstance(y[i], list):
                # compare responses only; requests are the recorder's own
                d = first_diff(*(renumber([{k: v for k, v in s.items() if k != 'request'} for s in z[i]]) for z in (x, y)))
            else: d = first_diff(x[i], y[i])
            if d: diffs.append((i, d))
        diffs += [(i, ('', 'missing', 'recorded')) for i in y if i not in x and (not a.case or a.case in i)]
        bad += len(diffs); tot += len(ids); red = {i for i, _ in diffs}
        if a.same:
            with open(a.same, 'a') as f: f.writelines('%s %s\n' % (g, i) for i in ids if i not in red)
        print('%-14s same %4d  different %4d' % (g, len(ids) - len([1 for i, _ in diffs if i in x]), len(diffs)))
        for i, (p, u, v) in diffs[:a.max]: print('    %s %s\n      1: %s\n      2: %s' % (i, p, sh(u), sh(v)))
    print('total %d cases, %d different' % (tot, bad))
    return 1 if bad else 0

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--base'); ap.add_argument('--token', default=''); ap.add_argument('--out')
    ap.add_argument('--diff', nargs=2); ap.add_argument('--group', action='append'); ap.add_argument('--case')
    ap.add_argument('--max', type=int, default=5); ap.add_argument('--list', action='store_true')
    ap.add_argument('--like'); ap.add_argument('--same'); ap.add_argument('--again', action='store_true')
    a = ap.parse_args()
    if a.diff: sys.exit(diff(a))
    if not a.list and not (a.base and a.out): ap.error('--base and --out, or --diff')
    if a.list: a.base, a.out = 'http://127.0.0.1:1', '/tmp'
    record(a)
if __name__ == '__main__': main()
