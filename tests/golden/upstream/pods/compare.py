#!/usr/bin/env python3
"""compare.py RECORDED REPLAYED - one line for each replayed pod: `equal NAME`, or `differs NAME` with what differs below it.
Compared are the last state of the object, the set of events and the observations; the steps on the way depend on how updates were merged."""
import json,sys,os
from norm import runtime_error
def obs(x): # listings of volumes are sets of lines
    return [dict(o,output='\n'.join(sorted(o['output'].split('\n')))) if str(o.get('label','')).startswith('tree') and isinstance(o.get('output'),str) else o for o in x['observations']]
def last(t):
    s={}; out=[]
    for e in t:
        if 'set' in e or 'unset' in e:
            s.update(e.get('set',{}))
            for k in e.get('unset',[]): s.pop(k,None)
        if e.get('deleted'): out.append(dict(s)); s={}
    # status.resources of a pod that ends is a race (cleared or not); leave it out
    return [{k:v for k,v in x.items() if not k.startswith('status.resources')} for x in (out or [s])]
def ev(x): return {(e['type'],e['reason'],e['message'],e['fieldPath']) for e in x['events']}
def differences(a,b):
    x,y=last(a['trace']),last(b['trace'])
    if len(x)!=len(y): yield f'{len(x)} objects recorded, {len(y)} replayed'
    for p,q in zip(x,y):
        for k in sorted(set(p)|set(q)):
            if p.get(k)!=q.get(k): yield f'{k}: recorded {p.get(k)!r}, replayed {q.get(k)!r}'
    for e in sorted(ev(a)-ev(b)): yield f'event only recorded: {e}'
    for e in sorted(ev(b)-ev(a)): yield f'event only replayed: {e}'
    x,y=obs(a),obs(b)
    if len(x)!=len(y): yield f'{len(x)} observations recorded, {len(y)} replayed'
    for p,q in zip(x,y):
        if p!=q:
            yield f'observation {p.get("label")!r}: '
            yield from (f'  {side} {k}: {o[k]!r}'[:2000] for k in p if p.get(k)!=q.get(k) for side,o in(('recorded',p),('replayed',q)) if k in o)
A,B=sys.argv[1:3]
for f in sorted(os.listdir(B)):
    a,b=[runtime_error(json.load(open(f'{x}/{f}'))) for x in (A,B)]
    d=list(differences(a,b))
    print('differs' if d else 'equal',f[:-5])
    for line in d: print('   ',line)
