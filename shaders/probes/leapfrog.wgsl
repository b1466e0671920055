// leapfrog — the sum of eight points that turn about 0, each step two fused multiply-adds
//
// Eight chains that do not wait for each other. A chain is u += a v, v -= a u, the leapfrog rotation: bounded, never at
// rest, and no compiler can shorten it.

fn turned(start: Point, a: Point) -> Sum {
    let b = -a;
    var u0 = start + Point(0.0);
    var v0 = start - Point(0.0);
    var u1 = start + Point(1.0);
    var v1 = start - Point(1.0);
    var u2 = start + Point(2.0);
    var v2 = start - Point(2.0);
    var u3 = start + Point(3.0);
    var v3 = start - Point(3.0);
    var u4 = start + Point(4.0);
    var v4 = start - Point(4.0);
    var u5 = start + Point(5.0);
    var v5 = start - Point(5.0);
    var u6 = start + Point(6.0);
    var v6 = start - Point(6.0);
    var u7 = start + Point(7.0);
    var v7 = start - Point(7.0);
    for (var trip = 0u; trip < p.trips; trip++) {
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
    }
    return sum(u0 + v0) + sum(u1 + v1) + sum(u2 + v2) + sum(u3 + v3)
        + sum(u4 + v4) + sum(u5 + v5) + sum(u6 + v6) + sum(u7 + v7);
}
