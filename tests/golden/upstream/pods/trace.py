#!/usr/bin/env python3
"""trace.py KUBECONFIG [OUTDIR] [NAME-REGEX] - record pod behaviour traces against a cluster.  See ../README.md.
env: KUBECTL (default kubectl), WORKERS (default 8), KUBELET_CTL (a script: `start`|`stop`|`static FILE`|`unstatic FILE`; without it the node cases are skipped),
HOSTDIR (a directory on the node that hostPath cases may use; default /var/tmp/golden)"""
import sys,os,subprocess,json,time,threading,re,queue,http.client,shutil,tempfile,traceback
from concurrent.futures import ThreadPoolExecutor
here=os.path.dirname(os.path.abspath(__file__)); sys.path.insert(0,here)
from norm import Norm
KC=os.path.abspath(sys.argv[1]); OUT=os.path.abspath(sys.argv[2] if len(sys.argv)>2 else 'traces'); ONLY=sys.argv[3] if len(sys.argv)>3 else '.'
K=os.environ.get('KUBECTL') or shutil.which('kubectl'); NS='golden-p'
HOSTDIR=os.environ.get('HOSTDIR','/var/tmp/golden')
px=subprocess.Popen([K,'--kubeconfig',KC,'proxy','--port=0'],stdout=subprocess.PIPE,text=True)
PORT=int(px.stdout.readline().strip().rsplit(':',1)[1])
def api(method,path,body=None,ctype='application/json'):
    c=http.client.HTTPConnection('127.0.0.1',PORT,timeout=60)
    c.request(method,path,json.dumps(body) if body is not None else None,{'Content-Type':ctype} if body is not None else {})
    r=c.getresponse(); d=r.read(); c.close()
    try: return r.status,json.loads(d)
    except Exception: return r.status,d.decode(errors='replace')
def kubectl(*a,stdin=None,timeout=60):
    try:
        p=subprocess.run([K,'--kubeconfig',KC,'-n',NS,*a],input=stdin,capture_output=True,text=True,errors='replace',timeout=timeout)
        return dict(exit=p.returncode,stdout=p.stdout,stderr=p.stderr)
    except subprocess.TimeoutExpired as e:
        return dict(exit=None,stdout=(e.stdout or b'').decode(errors='replace'),stderr='<TIMEOUT>')
KINDS={'ConfigMap':'configmaps','Secret':'secrets','Service':'services','ServiceAccount':'serviceaccounts','PersistentVolumeClaim':'persistentvolumeclaims'}
norm=Norm()
SKIP_META={'name','namespace','uid','resourceVersion','creationTimestamp','managedFields','selfLink'}
def key(e,i):
    if isinstance(e,dict):
        for k in ('name','type','resourceName','key','ip','mountPath'):
            if isinstance(e.get(k),str): return e[k]
    return str(i)
def flat(o,p,d):
    if isinstance(o,dict):
        if not o: d[p]={}
        for k,v in o.items(): flat(v,p+'.'+k if p else k,d)
    elif isinstance(o,list):
        if all(not isinstance(x,(dict,list)) for x in o): d[p]=o
        else:
            for i,v in enumerate(o): flat(v,f'{p}[{key(v,i)}]',d)
    else: d[p]=o
def scrub(o):
    # on cgroup v1 an unlimited memory.limit_in_bytes may be reported as a limit; whether it shows is a race, so drop it
    for x in [o.get('status',{})]+[c for k in('containerStatuses','initContainerStatuses') for c in o.get('status',{}).get(k,[])]:
        l=(x.get('resources') or {}).get('limits') or {}
        if l.get('memory')=='9007199254740988Ki':
            del l['memory']
            if not l: del x['resources']['limits']
def reduce_pod(o):
    scrub(o)
    d={}
    m={k:v for k,v in o['metadata'].items() if k not in SKIP_META}
    flat(m,'metadata',d)
    sp=o.get('spec',{})
    for k in ('nodeName','ephemeralContainers','schedulingGates'):
        if k in sp: flat(sp[k],'spec.'+k,d)
    for c in sp.get('containers',[]):
        if 'resources' in c: flat(c['resources'],f"spec.containers[{c['name']}].resources",d)
    flat(o.get('status',{}),'status',d)
    r={}
    for k,v in d.items():
        if k.endswith('lastProbeTime'): continue
        if re.search(r'(Time|At|Timestamp)$',k) and isinstance(v,str): v='<TIME>'
        if k.endswith('containerID') and v: v='<CID>'
        if k.endswith('imageID') and v: v='<IMAGEID>'
        if k in ('status.podIPs[0]',) : continue
        r[k]=v
    return r
class Rec:
    """one pod's trace"""
    def __init__(s,name): s.name=name; s.steps=[]; s.last={}; s.obj=None; s.cv=threading.Condition(); s.gone=False; s.t0=None; s.events=[]; s.heard=0; s.uids=[]
    def feed(s,typ,o):
        with s.cv:
            t=time.time(); s.t0=s.t0 or t
            if typ=='DELETED': s.steps.append(dict(t=t-s.t0,deleted=True,**s.diff(o))); s.gone=True; s.obj=None; s.last={}
            else:
                s.gone=False; s.obj=o
                u=o['metadata']['uid']
                if u not in s.uids:
                    s.uids.append(u)
                d=s.diff(o)
                if d.get('set') or d.get('unset'): s.steps.append(dict(t=t-s.t0,**d))
            s.cv.notify_all()
    def diff(s,o):
        r=reduce_pod(o); st={k:v for k,v in r.items() if s.last.get(k,'\0')!=v}; un=[k for k in s.last if k not in r]; s.last=r
        d={}
        if st: d['set']=st
        if un: d['unset']=un
        return d
    def mark(s,text):
        with s.cv: s.t0=s.t0 or time.time(); s.steps.append(dict(t=time.time()-s.t0,mark=text))
    def wait(s,fn,timeout):
        end=time.time()+timeout
        with s.cv:
            while True:
                try:
                    if (s.gone and fn=='gone') or (fn!='gone' and s.obj and fn(s.obj)): return True
                except Exception: pass
                left=end-time.time()
                if left<=0: return False
                s.cv.wait(left)
recs={}
def watcher(path,cb):
    while True:
        try:
            st,l=api('GET',path); rv=l['metadata']['resourceVersion']
            c=http.client.HTTPConnection('127.0.0.1',PORT); c.request('GET',f'{path}?watch=1&resourceVersion={rv}'); r=c.getresponse()
            while True:
                line=r.readline()
                if not line: break
                e=json.loads(line); cb(e['type'],e['object'])
        except Exception as ex:
            if stop.is_set(): return
            time.sleep(.3)
        if stop.is_set(): return
stop=threading.Event()
def podcb(t,o):
    r=recs.get(o['metadata']['name'])
    if r: r.feed(t,o)
def evcb(t,o):
    if t=='DELETED': return
    r=recs.get(o['involvedObject'].get('name'))
    if r and o['involvedObject'].get('kind')=='Pod': r.events.append(o); r.heard=time.time()
def events(r):
    seen={}
    for o in r.events:
        k=(o.get('type'),o.get('reason'),norm.text(o.get('message','')),(o.get('source') or {}).get('component') or o.get('reportingComponent'),o['involvedObject'].get('fieldPath',''))
        seen[k]=max(seen.get(k,0),o.get('count') or (o.get('series') or {}).get('count') or 1)
    return [dict(type=k[0],reason=k[1],message=k[2],component=k[3],fieldPath=k[4],count=n) for k,n in seen.items()]
def st(o): return o.get('status',{})
def ready(o): return any(c['type']=='Ready' and c['status']=='True' for c in st(o).get('conditions',[]))
def terminal(o): return st(o).get('phase') in('Succeeded','Failed')
def cs(o,c): return next(x for k in('containerStatuses','initContainerStatuses','ephemeralContainerStatuses') for x in st(o).get(k,[]) if x['name']==c)
class Ctx:
    def __init__(s,case,rec): s.case=case; s.name=case['name']; s.rec=rec; s.obs=[]; s.api=api; s.NS=NS; s.HOSTDIR=HOSTDIR
    def path(s,sub=''): return f'/api/v1/namespaces/{NS}/pods/{s.name}{sub}'
    def wait(s,fn,timeout=60,what=None):
        ok=s.rec.wait(fn,timeout)
        if not ok: s.rec.mark('wait timed out: '+(what or 'condition'))
        return ok
    def waitready(s,t=60): return s.wait(ready,t,'Ready')
    def waitdone(s,t=90): return s.wait(terminal,t,'terminal phase')
    def waitgone(s,t=60): return s.wait('gone',t,'gone')
    def sleep(s,t): time.sleep(t)
    def ex(s,label,cmd,c=None):
        a=['exec',s.name]+(['-c',c] if c else [])+['--','sh','-c',cmd]; r=kubectl(*a)
        s.obs.append(dict(label=label,container=c,command=cmd,exit=r['exit'],output=r['stdout']+r['stderr']))
        return r
    def kubectl(s,label,*a,**k):
        r=kubectl(*a,**k); s.obs.append(dict(label=label,kubectl=' '.join(a),**r)); return r
    def put(s,label,val): s.obs.append(dict(label=label,value=val))
    def mark(s,t): s.rec.mark(t)
    def logs(s):
        o=s.rec.obj
        if not o: return
        for k in('initContainerStatuses','containerStatuses','ephemeralContainerStatuses'):
            for c in st(o).get(k,[]):
                if not (c.get('state',{}).get('running') or c.get('state',{}).get('terminated') or c.get('lastState')): continue
                r=kubectl('logs',s.name,'-c',c['name'],'--tail=300')
                s.obs.append(dict(label=f"logs {c['name']}",exit=r['exit'],output=r['stdout']+r['stderr']))
    def delete(s,opts=None,mark=True):
        if mark: s.mark('DELETE '+json.dumps(opts or {}))
        return api('DELETE',s.path(),opts or {})
    def create(s,o): return api('POST',f'/api/v1/namespaces/{NS}/pods',o)
def default_flow(x):
    c=x.case
    def settled(o): return ready(o) or terminal(o)
    if not x.rec.wait(settled,c.get('settle',12)): x.mark('not ready or terminal after settle time')
    if x.rec.obj and not terminal(x.rec.obj):
        for label,cmd,cn in c.get('obs',[]): x.ex(label,cmd,cn)
def run_case(c):
    name=c['name']; rec=recs[name]=Rec(name); x=Ctx(c,rec); made=[]
    try:
        for o in c.get('pre',[]):
            st_,r=api('POST',f"/api/v1/namespaces/{NS}/{KINDS[o['kind']]}",o)
            if st_>=300: x.put('pre failed',r.get('message') if isinstance(r,dict) else r)
            made.append((KINDS[o['kind']],o['metadata']['name']))
        man=c['pod']
        code,r=x.create(man)
        if code>=300:
            x.put('create rejected',dict(code=code,reason=r.get('reason'),message=r.get('message'),causes=r.get('details',{}).get('causes')))
        else:
            (c.get('flow') or default_flow)(x)
            if rec.obj: x.logs()
            if not rec.gone:
                x.delete(c.get('delopts'))
                if not rec.wait('gone',c.get('delwait',45)): x.mark('not gone, force deleting'); api('DELETE',x.path(),{'gracePeriodSeconds':0}); rec.wait('gone',10)
    except Exception as e:
        x.put('RECORDER ERROR',traceback.format_exc())
    time.sleep(.5)
    for k,n in made: api('DELETE',f'/api/v1/namespaces/{NS}/{k}/{n}')
    return c,rec,x
wlock=threading.Lock()
def write(c,rec,x):
    man=c['pod']
    for i,u in enumerate(rec.uids): norm.add(u,'<POD_UID>' if i==0 else f'<POD_UID_{i+1}>')
    steps=[]; timing=[]
    for s in rec.steps:
        s=dict(s); timing.append(round(s.pop('t'),1)); steps.append(norm.obj(s))
    d=dict(name=c['name'],about=c.get('about',''),pre=c.get('pre',[]),pod=man,trace=steps,events=events(rec),observations=norm.obj(x.obs),timing_seconds=timing)
    d=json.loads(json.dumps(d).replace(HOSTDIR,'<HOSTDIR>'))
    import cases
    if d['pod']['spec'].get('nodeName')==cases.ENV.get('NODE'): d['pod']['spec']['nodeName']='<NODE>'
    with open(f"{OUT}/{c['name']}.json",'w') as f: json.dump(d,f,indent=1,ensure_ascii=False); f.write('\n')
    bad=[o for o in x.obs if o.get('label')=='RECORDER ERROR']
    print(f"{c['name']:32s} steps={len(steps):3d} events={len(d['events']):2d} {timing[-1] if timing else 0:6.1f}s {'ERROR' if bad else ''}{[s['mark'] for s in steps if 'mark' in s and 'time' in s['mark']]}",flush=True)
def main():
    os.makedirs(OUT,exist_ok=True)
    subprocess.run([K,'--kubeconfig',KC,'create','ns',NS],capture_output=True)
    for i in range(50):
        if api('GET',f'/api/v1/namespaces/{NS}/serviceaccounts/default')[0]==200: break
        time.sleep(.2)
    nodes=api('GET','/api/v1/nodes')[1]['items']; n0=nodes[0]; ni=n0['status']['nodeInfo']
    for k in ('machineID','systemUUID','bootID','kernelVersion','osImage'): norm.add(ni.get(k),f'<{k}>')
    norm.add(n0['metadata']['name'],'<NODE>'); norm.add(HOSTDIR,'<HOSTDIR>')
    for pair in filter(None,os.environ.get('NORM','').split(',')): a,b=pair.split('=',1); norm.add(a,b)
    import cases
    cases.ENV.update(NODE=n0['metadata']['name'],HOSTDIR=HOSTDIR,CTL=os.environ.get('KUBELET_CTL'))
    L=[c for c in cases.build() if re.search(ONLY,c['name'])]
    threading.Thread(target=watcher,args=(f'/api/v1/namespaces/{NS}/pods',podcb),daemon=True).start()
    threading.Thread(target=watcher,args=(f'/api/v1/namespaces/{NS}/events',evcb),daemon=True).start()
    time.sleep(1)
    par=[c for c in L if not c.get('serial')]; ser=[c for c in L if c.get('serial')]
    par.sort(key=lambda c:-c.get('est',10))
    with ThreadPoolExecutor(int(os.environ.get('WORKERS','8'))) as ex:
        from concurrent.futures import as_completed
        done=[f.result() for f in as_completed([ex.submit(run_case,c) for c in par])]
    done+=[run_case(c) for c in ser]
    # events are told by nobody who waits: until none has come for a while
    while time.time()-max((r.heard for r in recs.values()),default=0)<2: time.sleep(.1)
    for x in done: write(*x)
    stop.set()
try: main()
finally: px.terminate()
os._exit(0)
