import time, os, socket, sys
sys.path.insert(0,'/work/main/tests/dataplane')
from namespaces import *
from pathlib import Path as P
from ipaddress import ip_address as A, ip_network as N
from dsmip.dataplane.bpf import BpfDataPlane
from dsmip.dataplane.api import Role
from dsmip.dataplane.tun import TunDevice
from dsmip.core.types import *
a=Namespace('smoke-a'); b=Namespace('smoke-b'); veth(a,'u0',b,'u1')
d=P('/run/dsmip-dp-smoke')
with a.inside():
    t=TunDevice.open('dsmip0'); i=socket.if_nametoindex('dsmip0')
    t0=time.time(); p=BpfDataPlane.open(Role.HOME_AGENT,i,d/'n1'); print('load',time.time()-t0,p.adopted)
    t0=time.time(); p.attach('u0'); print('attach',time.time()-t0)
    t0=time.time(); 
    for _ in range(1000): p.attach('u0')
    print('reattach',(time.time()-t0)/1000)
    print(list(p.attached()), p.bindings(), p.drops(), p.traffic(3))
    t0=time.time()
    n=20000
    for k in range(1,n+1):
        p.set_path(k,Path(TunnelFormat.IPV6,A('2001:db8::1'),A('2001:db8::2'),interface=1))
    print('set_path',(time.time()-t0)/n); t0=time.time()
    nets=[[N(f'2001:db8:{k:x}::/64'),N(f'10.{k>>16}.{k>>8&255}.{k&255}/32')] for k in range(n+1)]
    t0=time.time()
    for k in range(1,n+1): p.set_networks(k,nets[k])
    print('set_networks',(time.time()-t0)/n); t0=time.time()
    for k in range(1,n+1): p.allow_source(k,A('192.0.2.1'),4191,None)
    print('allow',(time.time()-t0)/n)
    p.close(keep=True)
    t0=time.time(); p=BpfDataPlane.open(Role.HOME_AGENT,i,d/'n1'); print('adopt',time.time()-t0,p.adopted,len(p.bindings()),len(p._sources),list(p.attached()))
    t0=time.time()
    for k in range(1,n+1): p.remove_binding(k)
    print('remove',(time.time()-t0)/n, p.bindings(), [len(list(m.items())) for n,m in p._maps.items() if n in('paths','sources','traffic','networks6','networks4')])
    p.close(keep=False)
    print(a.run('tc qdisc show dev u0'), a.run('tc qdisc show dev dsmip0'), list(d.iterdir()))
    t.destroy()
a.delete(); b.delete(); os.system(f'umount {d}; rmdir {d}')
