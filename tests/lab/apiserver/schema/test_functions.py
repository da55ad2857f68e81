"""Kubernetes' own functions in rules, with the examples of its documentation."""

from __future__ import annotations

import pytest

from isthmus.lab.apiserver.schema.expressions import ExpressionError, evaluate


@pytest.mark.parametrize(
    "expression",
    [
        "isURL('https://user:pass@example.com:80/path?k=v')",
        "isURL('/absolute-path')",
        "!isURL('not a url')",
        "!isURL('example.com/a b')",
        "!isURL('https://a:99999/')",
        "url('https://example.com:80/').getHost() == 'example.com:80'",
        "url('https://example.com:80/').getHostname() == 'example.com'",
        "url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://example.com:80/').getPort() == '80' && url('/a').getPort() == ''",
        "url('/path?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}",
        "url('https://example.com/with space%20s'.replace(' ', '')).getEscapedPath() == '/withspace%20s'",
        "url('HTTPS://example.com').getScheme() in ['http', 'https']",
        "[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [].isSorted()",
        "[1, 3].sum() == 4 && [1.5].sum() == 1.5 && [1, 3].max() == 3 && ['b', 'a'].min() == 'a'",
        "[1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2 && [1].indexOf(5) == -1",
        "'tacocat'.indexOf('a') == 1",
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
        "'123 abc 456'.findAll('[0-9]+') == ['123', '456'] && '1 2'.findAll('[0-9]', 1) == ['1']",
        "'baac'.findAll('a*') == ['', 'aa', ''] && 'abab'.findAll('^ab') == ['ab'] && 'a'.findAll('a', 0) == []",
        f"'{'a' * 40}!'.find('(a+)+$') == ''",
        "isIP('127.0.0.1') && isIP('::1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4')",
        "ip('127.0.0.1').family() == 4 && ip('::1').family() == 6 && ip('127.0.0.1').isLoopback()",
        "ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()",
        "isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0') && cidr('10.0.0.0/8').prefixLength() == 8",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
        "cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24')) && !cidr('10.0.0.0/8').containsIP('::1')",
        "cidr('192.168.1.7/24').masked() == '192.168.1.0/24' && cidr('192.168.1.7/24').ip() == '192.168.1.7'",
        "isCIDR('0.0.0.0/0') && !isCIDR('10.0.0.0/255.0.0.0') && !isCIDR('10.0.0.0/0.0.0.255')",
        "!isCIDR('10.0.0.0/08') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0/+8') && !isCIDR('10.0.0.0/8/8')",
        "!isCIDR('fe80::%eth0/64') && !isCIDR('::ffff:1.2.3.4/100') && !isCIDR('10.0.0.0/٣')",
        "isQuantity('1.3G') && isQuantity('200Ki') && isQuantity('-.5') && !isQuantity('200K') && !isQuantity('Three')",
        "quantity('50000000G').isInteger() && !quantity('50.3').isInteger() && quantity('50k').asInteger() == 50000",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('50k').isGreaterThan(quantity('999m'))",
        "quantity('1Gi').isLessThan(quantity('1.1G')) && quantity('-5').sign() == -1 && quantity('0').sign() == 0",
        "quantity('50k').add('20').sub(quantity('100')).sub(-50000).compareTo(quantity('99920')) == 0",
        "!isQuantity('٣') && !isQuantity('1٣') && !isQuantity('1e٣')",
        "quantity('123456789012345678901234567890').compareTo('123456789012345678901234567891') == -1",
        "quantity('1e99').add('1').isGreaterThan('1e99') && quantity('1e99').add('1').sub('1e99').asInteger() == 1",
        "quantity('1e-40').add('1').isGreaterThan('1') && quantity('1e999').sub('1e-999').isLessThan('1e999')",
        "quantity('-9223372036854775808').isInteger() && !quantity('9223372036854775808').isInteger()",
        "[9223372036854775806, 1].sum() == 9223372036854775807",
        "quantity('1e3').asApproximateFloat() == 1000.0",
    ],
)
def test_what_holds(expression: str) -> None:
    """It holds in the lab as it does in Kubernetes."""
    assert evaluate(expression, None, ()) is True


@pytest.mark.parametrize(
    "expression",
    [
        "url('not a url').getHost() == ''",
        "ip('x').family() == 4",
        "quantity('x').sign() == 0",
        "quantity('1e9').asInteger() == quantity('1e99').asInteger()",
        "quantity('1').add(true) == '2'",
        "quantity('1').sub(1.5) == '2'",
        "[9223372036854775807, 1].sum() > 0",
        "cidr('10.0.0.1').prefixLength() == 8",
        "[].min() == 0",
        "[1, 'a'].isSorted()",
        "'a'.find('(') == ''",
        "'a'.find('(?=a)') == ''",
        f"'{'a' * 10_001}'.findAll('a').size() > 0",
    ],
)
def test_what_fails(expression: str) -> None:
    """What cannot be evaluated fails its rule, and is no error of the server's."""
    with pytest.raises(ExpressionError):
        evaluate(expression, None, ())
