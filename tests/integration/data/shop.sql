create table item (id integer primary key, name text, price integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000)
    insert into item select i, 'item ' || (i * 7919 % 40009), i * 31 % 997 from n;
create index item_name on item (name);
create table sale (item integer, amount integer);
insert into sale select id, price % 7 from item where id % 3 = 0;
select count(*), sum(length(name)) from item where name like '%77%';
select i.price / 100 as band, count(*), sum(s.amount) from item i join sale s on s.item = i.id
    group by band order by band;
update item set name = upper(name) || hex(price) where id % 5 = 0;
delete from item where id % 4 = 1;
select count(*), max(name), min(name) from item;
select length(group_concat(name, ',')) from item;
